package dev.fovea.client;

/** Where the rows of an image came from. */
public enum RowSource {
  /** Computed for this call. */
  ENCODED,
  /** In the encoder's store: a row hit. */
  ROWS,
  /** In the KV cache: a prefix hit. No rows were sent. */
  PREFIX,
  /** Not needed. */
  NONE
}
