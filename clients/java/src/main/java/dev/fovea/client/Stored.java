package dev.fovea.client;

import java.time.Instant;

/**
 * A stored image. {@code already} is true if it was stored before this call. A full store may evict
 * it before it {@code expires}. {@code encoder} is empty if the encoder itself responded.
 */
public record Stored(ImageFacts facts, boolean already, Instant expires, String encoder) {}
