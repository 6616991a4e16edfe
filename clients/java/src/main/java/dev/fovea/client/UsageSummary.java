package dev.fovea.client;

/** The sums of the records that share a key and a currency. */
public record UsageSummary(
    String key,
    long requests,
    long ok,
    long length,
    long cancelled,
    long deadline,
    long refused,
    long failed,
    long textTokens,
    long visualTokens,
    long naiveVisualTokens,
    long cachedPromptTokens,
    long outputTokens,
    long encodes,
    long wireBytes,
    Receipt.Price price) {}
