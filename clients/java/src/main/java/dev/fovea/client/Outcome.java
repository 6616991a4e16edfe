package dev.fovea.client;

/** How a request ended. */
public enum Outcome {
  /** The answer is complete. */
  OK,
  /** The answer reached maxNewTokens. */
  LENGTH,
  /** The caller left. */
  CANCELLED,
  /** The caller's deadline passed. */
  DEADLINE,
  REFUSED,
  /** The server failed, or it is newer and knows an outcome that this client does not. */
  FAILED
}
