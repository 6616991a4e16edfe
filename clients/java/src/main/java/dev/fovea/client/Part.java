package dev.fovea.client;

/** A piece of a message, in the order in which the model reads them: text or an {@link Image}. */
public sealed interface Part permits Part.Text, Image, Size {
  /** Special tokens written in it are text too. */
  record Text(String text) implements Part {}

  /** A piece of text. */
  static Part text(String text) {
    return new Text(text);
  }
}
