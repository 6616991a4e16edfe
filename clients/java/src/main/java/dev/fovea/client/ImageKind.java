package dev.fovea.client;

/**
 * What an image mostly shows. Rules on edges and colours know TEXT, GRAPHIC, PHOTO and BLANK; the
 * learned gate of an encoder refines them to all kinds but GRAPHIC.
 */
public enum ImageKind {
  TEXT,
  GRAPHIC,
  PHOTO,
  BLANK,
  CHART,
  TABLE,
  DRAWING,
  UNKNOWN
}
