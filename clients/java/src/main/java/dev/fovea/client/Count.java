package dev.fovea.client;

import java.util.List;
import java.util.OptionalInt;

/**
 * What a whole request costs. {@code fitsContext} counts the room for the answer too. {@code exact}
 * says that {@code visualTokens} is what an answer would spend; else it is the most, and {@code
 * visualTokensMin} the fewest. {@code prefillMs} is what reading such a prompt took lately, 0 where
 * nothing was read yet. {@code plans} stand in the order of {@code images}.
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
    List<Alternative> alternatives) {

  /** What is done to an image, and the most and the fewest visual tokens that it then costs. */
  public record Plan(
      List<Receipt.Step> steps, int tokens, int tokensMin, OptionalInt repeatOf) {}

  /** The same request under another budget, which can be asked with as it is. */
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
