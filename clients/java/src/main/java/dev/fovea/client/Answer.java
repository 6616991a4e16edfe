package dev.fovea.client;

import java.util.List;

/**
 * A complete answer. {@code matchedStop} is the stop string that ended it, or empty; an answer with
 * a stop string may not match its {@link Format}. {@code logprobs} are the natural
 * log-probabilities of the tokens, if {@link Question#withLogprobs} asks for them; otherwise empty.
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
