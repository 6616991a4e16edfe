package dev.fovea.client;

/** What becomes of deleted bytes in the files of an encoder. */
public enum Erasure {
  /** The encoder does not say. */
  UNKNOWN,
  /** They are in none of its files. */
  ERASED,
  /** They leave its files with the next compaction. Repeat the deletion to learn whether it has happened. */
  AFTER_COMPACTION
}
