package dev.fovea.client;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A conversation, and how to answer it. {@code requestId} identifies the request in logs; if empty,
 * the server generates an id. {@code timeout} is the deadline of the answer; if absent, the
 * client's. Retries with the same {@code idempotencyKey} count against a quota once; empty counts each
 * call. With a {@code quote} the request costs no more than that, or fails with QUOTE_EXCEEDED before
 * anything is spent. {@code topLogprobs} is how many alternatives of each token the answer has with
 * its log-probabilities; if absent, it has no log-probabilities. {@code route} says which tiers may
 * answer. {@code turn} has the tools, and how the answer begins.
 */
public record Question(
    List<Message> messages,
    Budget budget,
    Sampling sampling,
    String requestId,
    Optional<Duration> timeout,
    Optional<Format> format,
    OptionalInt topLogprobs,
    String idempotencyKey,
    Optional<Quote> quote,
    Route route,
    Turn turn) {

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
        OptionalInt.empty(),
        "",
        Optional.empty(),
        Route.ANY,
        Turn.DEFAULT);
  }

  /** Each image is resized to at most this many pixels. The server's default is 1,310,720. */
  public Question withMaxPixels(int most) {
    return withBudget(budget.but().maxPixels(most).build());
  }

  /** The bound on the cost of the images. Replaces an earlier budget. */
  public Question withBudget(Budget budget) {
    return new Question(
        messages, budget, sampling, requestId, timeout, format, topLogprobs, idempotencyKey, quote, route, turn);
  }

  /** How tokens are sampled. */
  public Question withSampling(Sampling sampling) {
    return new Question(
        messages, budget, sampling, requestId, timeout, format, topLogprobs, idempotencyKey, quote, route, turn);
  }

  /** At most 128 printable ASCII characters. */
  public Question withRequestId(String requestId) {
    return new Question(
        messages, budget, sampling, requestId, timeout, format, topLogprobs, idempotencyKey, quote, route, turn);
  }

  /** The deadline of the complete answer. */
  public Question withTimeout(Duration timeout) {
    return copy(Optional.of(timeout), format, topLogprobs, idempotencyKey, quote);
  }

  /** Constrains the answer. Without a format it is free text. */
  public Question withFormat(Format format) {
    return copy(timeout, Optional.of(format), topLogprobs, idempotencyKey, quote);
  }

  /** Requests the log-probability of every token. */
  public Question withLogprobs() {
    return withLogprobs(0);
  }

  /** Requests also those of as many of the most likely tokens at each position, at most 20. */
  public Question withLogprobs(int top) {
    return copy(timeout, format, OptionalInt.of(top), idempotencyKey, quote);
  }

  /** Names the call across its retries. At most 128 printable ASCII characters. */
  public Question withIdempotencyKey(String key) {
    return copy(timeout, format, topLogprobs, key, quote);
  }

  /** The quote that {@link Fovea#countTokens} returned for this question. */
  public Question withQuote(Quote quote) {
    return copy(timeout, format, topLogprobs, idempotencyKey, Optional.of(quote));
  }

  /** Which tiers may answer. */
  public Question withRoute(Route route) {
    return new Question(
        messages, budget, sampling, requestId, timeout, format, topLogprobs, idempotencyKey, quote, route, turn);
  }

  /** The tools that the model may call. */
  public Question withTools(ToolUse tools) {
    return withTurn(new Turn(tools, turn.thinking(), turn.continuesFinalMessage()));
  }

  /** Switches reasoning on or off where the checkpoint can. Without it the checkpoint decides. */
  public Question withThinking(boolean thinking) {
    return withTurn(new Turn(turn.tools(), Optional.of(thinking), turn.continuesFinalMessage()));
  }

  /** The answer continues the last message, which is the assistant's. */
  public Question continuingFinalMessage() {
    return withTurn(new Turn(turn.tools(), turn.thinking(), true));
  }

  private Question withTurn(Turn turn) {
    return new Question(
        messages, budget, sampling, requestId, timeout, format, topLogprobs, idempotencyKey, quote, route, turn);
  }

  private Question copy(
      Optional<Duration> timeout,
      Optional<Format> format,
      OptionalInt topLogprobs,
      String idempotencyKey,
      Optional<Quote> quote) {
    return new Question(
        messages, budget, sampling, requestId, timeout, format, topLogprobs, idempotencyKey, quote, route, turn);
  }
}
