package dev.fovea.client;

/** Why an answer ended. */
public enum FinishReason {
  /** The model ended the answer, or a stop string matched. */
  STOP,
  /** maxNewTokens was reached. The answer is cut and may not match its {@link Format}. */
  LENGTH,
  /** The answer calls tools, and waits for their results. */
  TOOL_CALLS,
  UNKNOWN
}
