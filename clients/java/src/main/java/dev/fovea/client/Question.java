package dev.fovea.client;

import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * A conversation, and how to answer it. {@code requestId} identifies the request in logs; if empty,
 * the server generates an id. {@code timeout} is the deadline of the answer; if absent, the
 * client's.
 */
public record Question(
    List<Message> messages,
    Budget budget,
    Sampling sampling,
    String requestId,
    Optional<Duration> timeout,
    Optional<Format> format,
    boolean logprobs) {

  public Question {
    messages = List.copyOf(messages);
  }

  /** A question about images. */
  public static Question of(String question, Image... images) {
    return of(List.of(Message.user(question, images)));
  }

  /** A whole conversation. */
  public static Question of(List<Message> messages) {
    return new Question(
        messages,
        Budget.DEFAULT,
        Sampling.DEFAULT,
        "",
        Optional.empty(),
        Optional.empty(),
        false);
  }

  /** Each image is resized to at most this many pixels. The server's default is 1,310,720. */
  public Question withMaxPixels(int most) {
    return withBudget(budget.but().maxPixels(most).build());
  }

  /** The bound on the cost of the images. Replaces an earlier budget. */
  public Question withBudget(Budget budget) {
    return new Question(messages, budget, sampling, requestId, timeout, format, logprobs);
  }

  /** How tokens are sampled. */
  public Question withSampling(Sampling sampling) {
    return new Question(messages, budget, sampling, requestId, timeout, format, logprobs);
  }

  /** At most 128 printable ASCII characters. */
  public Question withRequestId(String requestId) {
    return new Question(messages, budget, sampling, requestId, timeout, format, logprobs);
  }

  /** The deadline of the complete answer. */
  public Question withTimeout(Duration timeout) {
    return new Question(
        messages, budget, sampling, requestId, Optional.of(timeout), format, logprobs);
  }

  /** Constrains the answer. Without a format it is free text. */
  public Question withFormat(Format format) {
    return new Question(
        messages, budget, sampling, requestId, timeout, Optional.of(format), logprobs);
  }

  /** Requests the log-probability of every token. */
  public Question withLogprobs() {
    return new Question(messages, budget, sampling, requestId, timeout, format, true);
  }
}
