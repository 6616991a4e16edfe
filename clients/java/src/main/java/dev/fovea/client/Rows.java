package dev.fovea.client;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * The rows of one image, checked. {@code data} holds {@code count} rows in raster order of the
 * merged grid; {@code layout} says how to read them. {@code kept} are their places on the grid, one a
 * row, ascending; empty where all rows are here.
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

  /** Milliseconds that the encoder spent, by stage; 0 where a stage did not happen. */
  public record Timings(
      double queue, double decode, double preprocess, double tower, double store, double total) {}

  /** The bytes, read-only and little-endian; each call gives a view of its own. */
  @Override
  public ByteBuffer data() {
    return data.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }
}
