package dev.fovea.client;

import java.util.List;

/** What a whole request costs. {@code fitsContext} counts the room for the answer too. */
public record Count(
    int promptTokens,
    int textTokens,
    int visualTokens,
    List<TokenCount> images,
    long kvBytes,
    boolean fitsContext) {}
