package dev.fovea.client;

/** The format of a file, read from its bytes. */
public enum ImageFormat {
  JPEG,
  PNG,
  WEBP,
  GIF,
  UNKNOWN
}
