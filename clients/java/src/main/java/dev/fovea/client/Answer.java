package dev.fovea.client;

/** A whole answer. {@code matchedStop} is the stop string that ended it, or empty. */
public record Answer(
    String text,
    FinishReason finishReason,
    String matchedStop,
    String model,
    String requestId,
    Receipt receipt) {}
