package dev.fovea.client;

/** Part of a message, in the order in which the model reads it: text or an {@link Image}. */
public sealed interface Part permits Part.Text, Image, Size {
  /** Special tokens spelled in it are treated as text. */
  record Text(String text) implements Part {}

  /** Text. */
  static Part text(String text) {
    return new Text(text);
  }
}
