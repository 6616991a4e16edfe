package dev.fovea.client;

import java.util.List;

/**
 * A whole answer. {@code matchedStop} is the stop string that ended it, or empty; an answer that has
 * one need not match its {@link Format}. {@code logprobs} are natural, one a token, where {@link
 * Question#withLogprobs} asks for them; else empty.
 */
public record Answer(
    String text,
    FinishReason finishReason,
    String matchedStop,
    String model,
    String requestId,
    List<Integer> tokenIds,
    List<Float> logprobs,
    Receipt receipt) {}
