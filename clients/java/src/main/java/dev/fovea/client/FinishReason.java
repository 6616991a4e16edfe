package dev.fovea.client;

/** Why an answer ended. */
public enum FinishReason {
  /** The model ended it, or a stop string did. */
  STOP,
  /** maxNewTokens was reached: the answer is cut, and need not have its {@link Format}. */
  LENGTH,
  UNKNOWN
}
