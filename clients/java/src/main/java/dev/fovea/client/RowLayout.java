package dev.fovea.client;

/**
 * A row is {@code width} values of the pooled features, then as many of each deepstack level, then
 * the scales of all, where {@code dtype} has some.
 */
public record RowLayout(int width, int levels, RowDtype dtype) {
  /** Bytes of one row. */
  public int rowBytes() {
    return (1 + levels) * dtype.levelBytes(width);
  }
}
