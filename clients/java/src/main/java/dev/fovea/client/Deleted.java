package dev.fovea.client;

/** What a deletion removed: uploads, row records of their pixels, and the bytes of both. */
public record Deleted(long uploads, long records, long bytes) {}
