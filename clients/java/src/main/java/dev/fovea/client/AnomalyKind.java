package dev.fovea.client;

/** What has changed in the use of a tenant. */
public enum AnomalyKind {
  /** Images of a kind cost many more visual tokens. */
  COST,
  /** Many more images are new. */
  NEW_IMAGES,
  /** The rows of many more images are neither stored nor in the KV cache. */
  MISSES,
  /** Many more answers reach maxNewTokens. */
  LENGTH,
  UNKNOWN
}
