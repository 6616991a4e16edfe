package dev.fovea.client;

/** A size in pixels. In a message it replaces an image that you do not have, for counting only. */
public record Size(int width, int height) implements Part {
  @Override
  public String toString() {
    return width + "x" + height;
  }
}
