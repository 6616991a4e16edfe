package dev.fovea.client;

import java.nio.ByteBuffer;
import java.util.List;

/** Part of a streamed answer: Started, then Texts in order, then Finished. */
public sealed interface Event {
  /** The request was accepted: its images are stored and its prompt fits. */
  record Started(String requestId, String model, int promptTokens, int visualTokens)
      implements Event {}

  /**
   * The next part of the answer, its tokens, and on request their log-probabilities, their bytes,
   * and the most likely tokens at each position. {@code reasoning} and {@code toolCalls} are appended
   * to those of the answer.
   */
  record Text(
      String text,
      List<Integer> tokenIds,
      List<Float> logprobs,
      List<ByteBuffer> tokenBytes,
      List<List<TokenLogprob>> topLogprobs,
      String reasoning,
      List<ToolCall.Delta> toolCalls)
      implements Event {}

  /** The answer is complete. {@code matchedStop} is the stop string that ended it, or empty. */
  record Finished(FinishReason reason, String matchedStop, Receipt receipt) implements Event {}
}
