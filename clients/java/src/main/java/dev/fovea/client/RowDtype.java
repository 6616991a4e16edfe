package dev.fovea.client;

/**
 * How the values of a row are written; little-endian. Behind the values stand their scales in single
 * precision: for FP8 (e4m3fn) one a level, for INT8 one for each 64 values of a level.
 */
public enum RowDtype {
  BF16(2, 0),
  FP16(2, 0),
  FP32(4, 0),
  FP8(1, Integer.MAX_VALUE),
  INT8(1, 64),
  UNKNOWN(0, 0);

  private static final int SCALE = 4;

  private final int bytes;
  private final int group;

  RowDtype(int bytes, int group) {
    this.bytes = bytes;
    this.group = group;
  }

  /** Bytes of one value. */
  public int bytes() {
    return bytes;
  }

  /** Bytes of one level of so many values, with its scales. */
  public int levelBytes(int width) {
    int scales = group == 0 ? 0 : (int) (((long) width + group - 1) / group);
    return width * bytes + scales * SCALE;
  }
}
