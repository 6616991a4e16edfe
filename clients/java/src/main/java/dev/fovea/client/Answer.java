package dev.fovea.client;

import java.nio.ByteBuffer;
import java.util.List;

/**
 * A complete answer. {@code matchedStop} is the stop string that ended it, or empty; an answer with
 * a stop string may not match its {@link Format}. {@code logprobs} are the natural
 * log-probabilities of the tokens and {@code tokenBytes} their bytes, if {@link
 * Question#withLogprobs} asks for them; {@code topLogprobs} are the most likely tokens at each
 * position. Otherwise they are empty. {@code reasoning} preceded the text, with a checkpoint that
 * reasons. {@code toolCalls} are the tools that the answer calls.
 */
public record Answer(
    String text,
    FinishReason finishReason,
    String matchedStop,
    String model,
    String requestId,
    List<Integer> tokenIds,
    List<Float> logprobs,
    List<ByteBuffer> tokenBytes,
    List<List<TokenLogprob>> topLogprobs,
    String reasoning,
    List<ToolCall> toolCalls,
    Receipt receipt) {}
