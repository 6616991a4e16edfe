package dev.fovea.client;

import java.time.Instant;

/**
 * The most that a question may cost, in tokens of prompt and answer and by the operator's tariff,
 * signed in {@code token}. The currency is empty without a tariff.
 */
public record Quote(
    String token, long maxTokens, double maxAmount, String currency, Instant expires) {}
