package dev.fovea.client;

/** Where the rows of an image came from. */
public enum RowSource {
  /** Computed for this call. */
  ENCODED,
  /** Found in the encoder's store: a hit. */
  ROWS,
  /** Held by the KV cache; no row travelled. */
  PREFIX,
  /** Not needed. */
  NONE
}
