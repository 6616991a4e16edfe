package dev.fovea.client;

import java.util.List;
import java.util.Optional;

/**
 * The tools of a question. {@code called} says whether the model calls them; a {@code name} makes it
 * call that tool. Without {@code parallel}, an answer has at most a single call.
 */
public record ToolUse(List<Tool> tools, Called called, Optional<String> name, boolean parallel) {
  /** No tools. */
  public static final ToolUse NONE = new ToolUse(List.of(), Called.AUTO, Optional.empty(), true);

  /** Whether the model calls tools. */
  public enum Called {
    /** The model decides. */
    AUTO,
    /** It calls none, and does not see the tools. */
    NONE,
    /** The answer is a call. */
    REQUIRED
  }

  public ToolUse {
    tools = List.copyOf(tools);
  }

  /** Tools that the model may call. */
  public static ToolUse of(Tool... tools) {
    return new ToolUse(List.of(tools), Called.AUTO, Optional.empty(), true);
  }

  /** Whether the model calls these tools. */
  public ToolUse called(Called called) {
    return new ToolUse(tools, called, Optional.empty(), parallel);
  }

  /** The answer is a call of this tool. */
  public ToolUse calling(String name) {
    return new ToolUse(tools, Called.REQUIRED, Optional.of(name), parallel);
  }

  /** At most a single call. */
  public ToolUse once() {
    return new ToolUse(tools, called, name, false);
  }
}
