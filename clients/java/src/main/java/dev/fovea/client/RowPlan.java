package dev.fovea.client;

/**
 * How an image is encoded, and which of its rows are sent. What is null is the server's choice.
 * {@code flatTolerance} encodes no square of one colour, 0 none of exactly one. {@code keep} is the
 * share of the encoded rows that is sent; {@code auto} sends as many as add something.
 */
public record RowPlan(
    Integer maxPixels, Integer flatTolerance, Double keep, boolean auto, Reducer reducer) {
  /** All rows at the server's default size. */
  public static final RowPlan DEFAULT = new RowPlan(null, null, null, false, null);

  /** The image is shrunk to at most this many pixels. */
  public RowPlan withMaxPixels(int most) {
    return new RowPlan(most, flatTolerance, keep, auto, reducer);
  }

  /** Squares of one colour are not encoded; their values may differ by this much. */
  public RowPlan withFlatTolerance(int tolerance) {
    return new RowPlan(maxPixels, tolerance, keep, auto, reducer);
  }

  /** The best rows by a reducer: this share of them. */
  public RowPlan withBest(double share, Reducer by) {
    return new RowPlan(maxPixels, flatTolerance, share, false, by);
  }

  /** The best rows by a reducer: as many as add something. */
  public RowPlan withBest(Reducer by) {
    return new RowPlan(maxPixels, flatTolerance, null, true, by);
  }
}
