package dev.fovea.client;

import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * What a caller asks: a conversation, and how it is to be answered. {@code requestId} names it in
 * logs; empty lets the server choose. {@code timeout} is that of the answer; absent, the client's.
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

  /** Each image is shrunk to at most this many pixels; the server's default is 1,310,720. */
  public Question withMaxPixels(int most) {
    return withBudget(budget.but().maxPixels(most).build());
  }

  /** What the images may cost; takes the place of what was said of that before. */
  public Question withBudget(Budget budget) {
    return new Question(messages, budget, sampling, requestId, timeout, format, logprobs);
  }

  /** How tokens are chosen. */
  public Question withSampling(Sampling sampling) {
    return new Question(messages, budget, sampling, requestId, timeout, format, logprobs);
  }

  /** At most 128 printable ASCII characters. */
  public Question withRequestId(String requestId) {
    return new Question(messages, budget, sampling, requestId, timeout, format, logprobs);
  }

  /** The answer must be complete by then. */
  public Question withTimeout(Duration timeout) {
    return new Question(
        messages, budget, sampling, requestId, Optional.of(timeout), format, logprobs);
  }

  /** The form that the answer must have; without one it is free. */
  public Question withFormat(Format format) {
    return new Question(
        messages, budget, sampling, requestId, timeout, Optional.of(format), logprobs);
  }

  /** Asks for the log-probability of every token. */
  public Question withLogprobs() {
    return new Question(messages, budget, sampling, requestId, timeout, format, true);
  }
}
