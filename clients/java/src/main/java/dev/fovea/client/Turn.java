package dev.fovea.client;

import java.util.Optional;

/**
 * The tools of a question, whether the model reasons first, and whether the answer continues the last
 * message, which is then the assistant's.
 */
public record Turn(ToolUse tools, Optional<Boolean> thinking, boolean continuesFinalMessage) {
  /** No tools; the checkpoint decides whether to reason; the answer is a message of its own. */
  public static final Turn DEFAULT = new Turn(ToolUse.NONE, Optional.empty(), false);
}
