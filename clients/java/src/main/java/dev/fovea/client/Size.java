package dev.fovea.client;

/** A size in pixels. In a message it stands for an image that is not at hand: only to count it. */
public record Size(int width, int height) implements Part {
  @Override
  public String toString() {
    return width + "x" + height;
  }
}
