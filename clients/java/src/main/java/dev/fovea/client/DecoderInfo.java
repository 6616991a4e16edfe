package dev.fovea.client;

import java.util.List;
import java.util.Optional;

/**
 * The description of a decoder. {@code fingerprint} and {@code layout} are those of the rows that
 * it expects. {@code progress} is the loaded share of the model. {@code modelNotice} is what readers
 * of the answers should know about the model, usually empty.
 */
public record DecoderInfo(
    String version,
    String model,
    String fingerprint,
    Optional<RowLayout> layout,
    Limits limits,
    Load load,
    List<String> features,
    ServingState state,
    double progress,
    String engine,
    String attention,
    String dtype,
    List<Encoder> encoders,
    long kvBytesPerToken,
    String modelNotice) {

  /** The settings that limit a request. */
  public record Limits(
      long maxMessageBytes,
      int maxContext,
      int maxNewTokens,
      int defaultMaxNewTokens,
      int maxImages,
      int defaultMaxPixels,
      int maxPixels,
      int minPixels,
      int maxRunning,
      int maxWaiting,
      int maxStopStrings,
      int maxTools,
      long maxToolBytes,
      long maxImageBytes,
      long maxFormatBytes,
      double maxFormatSeconds,
      long maxFormatMemoryBytes,
      int formatWorkers) {}

  /** Waiting and running requests, and the KV blocks that they hold. */
  public record Load(int waiting, int running, int kvBlocksUsed, int kvBlocks) {}

  /** An encoder as this decoder sees it; {@code encodes} since the encoder's start. */
  public record Encoder(
      String address,
      String name,
      boolean reachable,
      String fingerprint,
      boolean compatible,
      int waiting,
      int running,
      long encodes) {}

  /** The arithmetic of this decoder's model. */
  public Geometry geometry() {
    return new Geometry(limits.minPixels(), limits.maxPixels());
  }
}
