package dev.fovea.client;

import java.util.List;

/**
 * How tokens are sampled. Null takes the server's default. {@link #DEFAULT} is greedy. The seed is
 * an unsigned 32-bit number.
 */
public record Sampling(
    Float temperature,
    Float topP,
    Integer topK,
    Float minP,
    Float repetitionPenalty,
    Integer seed,
    List<String> stop,
    Integer maxNewTokens) {

  /** The server's defaults. */
  public static final Sampling DEFAULT =
      new Sampling(null, null, null, null, null, null, List.of(), null);

  public Sampling {
    stop = List.copyOf(stop);
  }

  /** 0 is greedy: the most likely token is always taken. */
  public Sampling withTemperature(float value) {
    return new Sampling(value, topP, topK, minP, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Sample from the most likely tokens that together reach this probability. */
  public Sampling withTopP(float value) {
    return new Sampling(temperature, value, topK, minP, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Sample from the k most likely tokens; 0 is all. */
  public Sampling withTopK(int value) {
    return new Sampling(temperature, topP, value, minP, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Sample from tokens at least this fraction as likely as the most likely token. */
  public Sampling withMinP(float value) {
    return new Sampling(temperature, topP, topK, value, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Penalises tokens that occurred before; 1 changes nothing. */
  public Sampling withRepetitionPenalty(float value) {
    return new Sampling(temperature, topP, topK, minP, value, seed, stop, maxNewTokens);
  }

  /** Makes sampling repeatable. */
  public Sampling withSeed(int value) {
    return new Sampling(temperature, topP, topK, minP, repetitionPenalty, value, stop, maxNewTokens);
  }

  /** The answer ends before the first of these strings. */
  public Sampling withStop(String... values) {
    List<String> stops = List.of(values);
    return new Sampling(temperature, topP, topK, minP, repetitionPenalty, seed, stops, maxNewTokens);
  }

  /** The most tokens of the answer. */
  public Sampling withMaxNewTokens(int value) {
    return new Sampling(temperature, topP, topK, minP, repetitionPenalty, seed, stop, value);
  }
}
