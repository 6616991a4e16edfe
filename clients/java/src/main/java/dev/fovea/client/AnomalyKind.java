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
  /**
   * The tier to which a tier would have escalated contradicts more of its answers than its
   * calibration explains.
   */
  SILENT_ERRORS,
  UNKNOWN
}
