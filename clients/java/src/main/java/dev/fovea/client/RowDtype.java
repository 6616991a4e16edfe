package dev.fovea.client;

/**
 * The dtype of the values of a row, little-endian. Scales are in fp32, after the values of a row.
 */
public enum RowDtype {
  BF16(2, 0),
  FP16(2, 0),
  FP32(4, 0),
  /** float8 e4m3fn, with a scale for each level. */
  FP8(1, Integer.MAX_VALUE),
  /** A scale for each 64 values of a level. */
  INT8(1, 64),
  UNKNOWN(0, 0);

  private static final int SCALE_BYTES = 4;

  private final int bytes;
  private final int group;

  RowDtype(int bytes, int group) {
    this.bytes = bytes;
    this.group = group;
  }

  /** Bytes of a value. */
  public int bytes() {
    return bytes;
  }

  /** Bytes of a level of {@code width} values, its scales included. 0 if no such level exists. */
  int levelBytes(int width) {
    if (group == 0 || width < 1) {
      return width * bytes;
    }
    int shared = Math.min(group, width);
    return width % shared == 0 ? width * bytes + width / shared * SCALE_BYTES : 0;
  }
}
