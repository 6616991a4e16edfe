package dev.fovea.client;

import java.util.List;
import java.util.TreeMap;

/**
 * A call of a tool by the model. {@code arguments} is a JSON object, as the model wrote it. It is
 * valid under the tool's schema if the call was forced or the tool is strict, and the answer was not
 * cut.
 */
public record ToolCall(String id, String name, String arguments) {
  /**
   * Part of a call. {@code id} and {@code name} come with its first part; the {@code arguments} of
   * all parts of an {@code index} add up.
   */
  public record Delta(int index, String id, String name, String arguments) {}

  /** The whole calls. */
  static List<ToolCall> merged(List<Delta> deltas) {
    var calls = new TreeMap<Integer, ToolCall>();
    for (Delta delta : deltas) {
      calls.merge(
          delta.index(),
          new ToolCall(delta.id(), delta.name(), delta.arguments()),
          (first, more) -> new ToolCall(first.id, first.name, first.arguments + more.arguments));
    }
    return List.copyOf(calls.values());
  }
}
