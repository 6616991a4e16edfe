package dev.fovea.client;

import java.util.List;

/**
 * How the answer's tokens are chosen; null leaves a knob at the server's default. {@link #DEFAULT}
 * always takes the likeliest token. The seed is taken as 32 bits without a sign.
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

  /** The server's own choice of everything. */
  public static final Sampling DEFAULT =
      new Sampling(null, null, null, null, null, null, List.of(), null);

  public Sampling {
    stop = List.copyOf(stop);
  }

  /** 0 always takes the likeliest token. */
  public Sampling withTemperature(float value) {
    return new Sampling(value, topP, topK, minP, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Only the likeliest tokens that together reach this probability. */
  public Sampling withTopP(float value) {
    return new Sampling(temperature, value, topK, minP, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Only the k likeliest tokens; 0 is all. */
  public Sampling withTopK(int value) {
    return new Sampling(temperature, topP, value, minP, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Only tokens at least this fraction as likely as the likeliest. */
  public Sampling withMinP(float value) {
    return new Sampling(temperature, topP, topK, value, repetitionPenalty, seed, stop, maxNewTokens);
  }

  /** Divides the logits of tokens that were seen before; 1 changes nothing. */
  public Sampling withRepetitionPenalty(float value) {
    return new Sampling(temperature, topP, topK, minP, value, seed, stop, maxNewTokens);
  }

  /** Makes sampling repeatable. */
  public Sampling withSeed(int value) {
    return new Sampling(temperature, topP, topK, minP, repetitionPenalty, value, stop, maxNewTokens);
  }

  /** The answer ends before any of these. */
  public Sampling withStop(String... values) {
    List<String> stops = List.of(values);
    return new Sampling(temperature, topP, topK, minP, repetitionPenalty, seed, stops, maxNewTokens);
  }

  /** The most tokens of the answer. */
  public Sampling withMaxNewTokens(int value) {
    return new Sampling(temperature, topP, topK, minP, repetitionPenalty, seed, stop, value);
  }
}
