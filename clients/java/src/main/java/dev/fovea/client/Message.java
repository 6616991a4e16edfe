package dev.fovea.client;

import java.util.ArrayList;
import java.util.List;

/** A turn of a conversation. */
public record Message(Role role, List<Part> parts) {
  /** The speaker. */
  public enum Role {
    /** Instructions. Only as the first message. */
    SYSTEM,
    /** The user who asks. The last message is the user's. */
    USER,
    /** An earlier answer. */
    ASSISTANT
  }

  public Message {
    parts = List.copyOf(parts);
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
}
