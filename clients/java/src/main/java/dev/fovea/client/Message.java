package dev.fovea.client;

import java.util.ArrayList;
import java.util.List;

/**
 * A turn of a conversation. {@code toolCalls} and {@code reasoning} are those of an earlier answer;
 * {@code toolCallId} is the call whose result a message of a tool is.
 */
public record Message(
    Role role, List<Part> parts, List<ToolCall> toolCalls, String toolCallId, String reasoning) {
  /** The speaker. */
  public enum Role {
    /** Instructions. Only as the first message. */
    SYSTEM,
    /** The user who asks. The last message is the user's or a tool's. */
    USER,
    /** An earlier answer. */
    ASSISTANT,
    /** The result of a tool call. */
    TOOL
  }

  public Message {
    parts = List.copyOf(parts);
    toolCalls = List.copyOf(toolCalls);
  }

  public Message(Role role, List<Part> parts) {
    this(role, parts, List.of(), "", "");
  }

  /** Instructions. */
  public static Message system(String text) {
    return new Message(Role.SYSTEM, List.of(Part.text(text)));
  }

  /** A message of the user, with images at their positions. */
  public static Message user(Part... parts) {
    return new Message(Role.USER, List.of(parts));
  }

  /**
   * A question about images. The images come first, so that a second question about the same images
   * reuses their prefix.
   */
  public static Message user(String question, Image... images) {
    List<Part> parts = new ArrayList<>(List.of(images));
    parts.add(Part.text(question));
    return new Message(Role.USER, parts);
  }

  /** An earlier answer. */
  public static Message assistant(String text) {
    return new Message(Role.ASSISTANT, List.of(Part.text(text)));
  }

  /** An earlier answer, with its tool calls and its reasoning. */
  public static Message assistant(Answer answer) {
    List<Part> parts =
        answer.text().isEmpty() && !answer.toolCalls().isEmpty()
            ? List.of()
            : List.of(Part.text(answer.text()));
    return new Message(Role.ASSISTANT, parts, answer.toolCalls(), "", answer.reasoning());
  }

  /** The result of a tool call. */
  public static Message result(ToolCall call, Part... parts) {
    return new Message(Role.TOOL, List.of(parts), List.of(), call.id(), "");
  }
}
