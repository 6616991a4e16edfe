package dev.fovea.client;

/** How one value of a row is written; little-endian. */
public enum RowDtype {
  BF16(2),
  FP16(2),
  FP32(4),
  UNKNOWN(0);

  private final int bytes;

  RowDtype(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one value. */
  public int bytes() {
    return bytes;
  }
}
