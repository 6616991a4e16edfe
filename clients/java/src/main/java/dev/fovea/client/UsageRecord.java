package dev.fovea.client;

import java.time.Instant;

/**
 * What a call of {@code Generate} or {@code Complete} has used, however it ended. {@code id} is
 * unique; several requests may share a {@code requestId}. {@code reason} is that of a refusal or
 * failure, otherwise empty. The receipt of a request that was cut holds what it had used by then.
 */
public record UsageRecord(
    String id,
    String requestId,
    String parentRequestId,
    String tenant,
    Instant start,
    String method,
    Outcome outcome,
    String reason,
    String model,
    Receipt receipt) {}
