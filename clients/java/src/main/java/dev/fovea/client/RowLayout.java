package dev.fovea.client;

/**
 * A row holds {@code width} values of the pooled features, then as many of each deepstack level,
 * then the scales, if {@code dtype} has any.
 */
public record RowLayout(int width, int levels, RowDtype dtype) {
  /** Bytes of a row. */
  public int rowBytes() {
    return (1 + levels) * dtype.levelBytes(width);
  }
}
