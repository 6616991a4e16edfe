package dev.fovea.client;

/**
 * How an image is encoded, and which of its rows are sent. Null takes the server's default. {@code
 * flatTolerance} drops uniform patches: 0 those of exactly a single colour. {@code keep} is the
 * share of the encoded rows to send; {@code auto} chooses the share from the image.
 */
public record RowPlan(
    Integer maxPixels, Integer flatTolerance, Double keep, boolean auto, Reducer reducer) {
  /** All rows at the server's default size. */
  public static final RowPlan DEFAULT = new RowPlan(null, null, null, false, null);

  /** The image is resized to at most this many pixels. */
  public RowPlan withMaxPixels(int most) {
    return new RowPlan(most, flatTolerance, keep, auto, reducer);
  }

  /** Uniform patches are dropped. Their values may differ by this much. */
  public RowPlan withFlatTolerance(int tolerance) {
    return new RowPlan(maxPixels, tolerance, keep, auto, reducer);
  }

  /** The best rows by a reducer: this share of them. */
  public RowPlan withBest(double share, Reducer by) {
    return new RowPlan(maxPixels, flatTolerance, share, false, by);
  }

  /** The best rows by a reducer: a share chosen from the image. */
  public RowPlan withBest(Reducer by) {
    return new RowPlan(maxPixels, flatTolerance, null, true, by);
  }
}
