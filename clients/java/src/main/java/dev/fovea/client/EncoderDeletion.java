package dev.fovea.client;

/**
 * A deletion on an encoder. If it is not {@code confirmed}, the encoder may still hold the data, and
 * {@code reason} says why.
 */
public record EncoderDeletion(String encoder, boolean confirmed, String reason, Deleted deleted) {}
