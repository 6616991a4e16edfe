package dev.fovea.client;

/**
 * Statistics of an encoder's store. Sizes survive a restart. Event counts start at zero with the
 * process.
 */
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
