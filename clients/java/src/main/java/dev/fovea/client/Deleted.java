package dev.fovea.client;

/**
 * What a deletion removed: uploads, row records of their pixels, and the bytes of both. {@code erasure}
 * says what becomes of these bytes on the encoder's disk.
 */
public record Deleted(long uploads, long records, long bytes, Erasure erasure) {}
