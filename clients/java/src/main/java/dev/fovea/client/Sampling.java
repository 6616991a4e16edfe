package dev.fovea.client;

import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

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
    Float presencePenalty,
    Float frequencyPenalty,
    Map<Integer, Float> logitBias,
    boolean checkpointDefaults,
    Integer seed,
    List<String> stop,
    Integer maxNewTokens) {

  /** The server's defaults. */
  public static final Sampling DEFAULT = new Values().build();

  public Sampling {
    logitBias = Map.copyOf(logitBias);
    stop = List.copyOf(stop);
  }

  /** 0 is greedy: the most likely token is always taken. */
  public Sampling withTemperature(float value) {
    return with(values -> values.temperature = value);
  }

  /** Sample from the most likely tokens that together reach this probability. */
  public Sampling withTopP(float value) {
    return with(values -> values.topP = value);
  }

  /** Sample from the k most likely tokens; 0 is all. */
  public Sampling withTopK(int value) {
    return with(values -> values.topK = value);
  }

  /** Sample from tokens at least this fraction as likely as the most likely token. */
  public Sampling withMinP(float value) {
    return with(values -> values.minP = value);
  }

  /** Penalises tokens that occurred before; 1 changes nothing. */
  public Sampling withRepetitionPenalty(float value) {
    return with(values -> values.repetitionPenalty = value);
  }

  /** Subtracted from the logits of tokens that the answer already has; -2 to 2. */
  public Sampling withPresencePenalty(float value) {
    return with(values -> values.presencePenalty = value);
  }

  /** Subtracted from the logits of tokens for each time that the answer has them; -2 to 2. */
  public Sampling withFrequencyPenalty(float value) {
    return with(values -> values.frequencyPenalty = value);
  }

  /** Added to the logits of tokens, by token id; -100 to 100, at most 300 entries. */
  public Sampling withLogitBias(Map<Integer, Float> biases) {
    return with(values -> values.logitBias = biases);
  }

  /** Takes what is null here from the generation_config.json of the decoder's checkpoint. */
  public Sampling withCheckpointDefaults() {
    return with(values -> values.checkpointDefaults = true);
  }

  /** Makes sampling repeatable. */
  public Sampling withSeed(int value) {
    return with(values -> values.seed = value);
  }

  /** The answer ends before the first of these strings. */
  public Sampling withStop(String... strings) {
    return with(values -> values.stop = List.of(strings));
  }

  /** The most tokens of the answer. */
  public Sampling withMaxNewTokens(int value) {
    return with(values -> values.maxNewTokens = value);
  }

  private Sampling with(Consumer<Values> change) {
    Values values = new Values();
    values.temperature = temperature;
    values.topP = topP;
    values.topK = topK;
    values.minP = minP;
    values.repetitionPenalty = repetitionPenalty;
    values.presencePenalty = presencePenalty;
    values.frequencyPenalty = frequencyPenalty;
    values.logitBias = logitBias;
    values.checkpointDefaults = checkpointDefaults;
    values.seed = seed;
    values.stop = stop;
    values.maxNewTokens = maxNewTokens;
    change.accept(values);
    return values.build();
  }

  private static final class Values {
    private Float temperature;
    private Float topP;
    private Integer topK;
    private Float minP;
    private Float repetitionPenalty;
    private Float presencePenalty;
    private Float frequencyPenalty;
    private Map<Integer, Float> logitBias = Map.of();
    private boolean checkpointDefaults;
    private Integer seed;
    private List<String> stop = List.of();
    private Integer maxNewTokens;

    private Sampling build() {
      return new Sampling(
          temperature,
          topP,
          topK,
          minP,
          repetitionPenalty,
          presencePenalty,
          frequencyPenalty,
          logitBias,
          checkpointDefaults,
          seed,
          stop,
          maxNewTokens);
    }
  }
}
