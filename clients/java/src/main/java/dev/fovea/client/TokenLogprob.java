package dev.fovea.client;

import java.nio.ByteBuffer;

/**
 * A token with its natural log-probability. {@code token} are its bytes, which may be part of a
 * character and are empty for special tokens.
 */
public record TokenLogprob(int tokenId, float logprob, ByteBuffer token) {}
