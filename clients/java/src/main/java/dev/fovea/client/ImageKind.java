package dev.fovea.client;

/** What an image mostly shows, as far as edges and colours tell. */
public enum ImageKind {
  TEXT,
  GRAPHIC,
  PHOTO,
  UNKNOWN
}
