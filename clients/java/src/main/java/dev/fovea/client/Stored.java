package dev.fovea.client;

import java.time.Instant;

/**
 * An image that an encoder holds. {@code already} is true where it was held before this call; a full
 * store may let it go before it {@code expires}. {@code encoder} is empty where the encoder itself
 * answers.
 */
public record Stored(ImageFacts facts, boolean already, Instant expires, String encoder) {}
