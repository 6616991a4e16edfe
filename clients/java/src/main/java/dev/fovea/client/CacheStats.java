package dev.fovea.client;

/** An encoder's store. Sizes are true after a restart; events count from the process's start. */
public record CacheStats(
    long records,
    long recordBytes,
    long recordCapacityBytes,
    long uploads,
    long uploadBytes,
    long uploadCapacityBytes,
    long hits,
    long misses,
    long evictions,
    long failedChecks,
    long skippedPuts) {}
