package dev.fovea.client;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * The verified rows of an image. {@code data} holds {@code count} rows in raster order of the
 * merged grid, described by {@code layout}. {@code kept} lists the kept indices, ascending; empty
 * if all rows are present.
 */
public record Rows(
    ByteBuffer data,
    int count,
    RowLayout layout,
    Grid grid,
    RowSource source,
    String encoder,
    String fingerprint,
    String digest,
    Timings timings,
    List<Integer> kept) {

  /** Milliseconds that the encoder spent, by stage. 0 for a stage that did not run. */
  public record Timings(
      double queue, double decode, double preprocess, double tower, double store, double total) {}

  /** The bytes, read-only and little-endian. Each call returns a separate view. */
  @Override
  public ByteBuffer data() {
    return data.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }
}
