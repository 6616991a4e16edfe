package dev.fovea.client;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * The cost of a whole request. {@code fitsContext} includes the room for the answer. If {@code
 * exact} is false, {@code visualTokens} is the upper bound and {@code visualTokensMin} the lower
 * bound. {@code prefillMs} is the expected prefill time from recent prefills, 0 if there were none.
 * {@code plans} are in the order of {@code images}. The {@code quote} is absent if an image is given
 * by its size only.
 */
public record Count(
    int promptTokens,
    int textTokens,
    int visualTokens,
    List<TokenCount> images,
    long kvBytes,
    boolean fitsContext,
    boolean exact,
    int visualTokensMin,
    long rowBytes,
    double prefillFlops,
    double prefillMs,
    List<Plan> plans,
    List<Alternative> alternatives,
    Optional<Quote> quote) {

  /** The plan of an image, with the upper and lower bounds of its visual tokens. */
  public record Plan(
      List<Receipt.Step> steps, int tokens, int tokensMin, OptionalInt repeatOf) {}

  /** The same request with another budget, which can be sent as it is. */
  public record Alternative(
      String name,
      Budget budget,
      int visualTokens,
      int visualTokensMin,
      boolean exact,
      long rowBytes,
      long kvBytes,
      double prefillFlops,
      boolean fitsContext) {}
}
