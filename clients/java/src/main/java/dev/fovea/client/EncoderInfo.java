package dev.fovea.client;

import java.util.List;
import java.util.Optional;

/**
 * The description of an encoder. While the model is loading, {@code fingerprint} is empty and
 * {@code layout} absent. {@code progress} is the loaded share of the model.
 */
public record EncoderInfo(
    String version,
    String name,
    String model,
    String fingerprint,
    Optional<RowLayout> layout,
    Limits limits,
    Load load,
    List<String> features,
    ServingState state,
    double progress,
    String device,
    String dtype) {

  /** The settings that limit an image. */
  public record Limits(
      long maxMessageBytes,
      long maxImageBytes,
      int maxImagePixels,
      int maxImageSide,
      int maxImageAspect,
      int maxJpegScans,
      int defaultMaxPixels,
      int maxPixels,
      int minPixels,
      int maxBatchPatches,
      int maxQueue,
      long cacheBytes,
      long uploadsBytes) {}

  /** Images before and in the tower, and images encoded since the start. */
  public record Load(int waiting, int running, long encodes) {}

  /** The arithmetic of this encoder's model. */
  public Geometry geometry() {
    return new Geometry(limits.minPixels(), limits.maxPixels());
  }
}
