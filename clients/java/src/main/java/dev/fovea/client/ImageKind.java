package dev.fovea.client;

/** What an image mostly shows, estimated from its edges and colours. */
public enum ImageKind {
  TEXT,
  GRAPHIC,
  PHOTO,
  BLANK,
  UNKNOWN
}
