package dev.fovea.client;

/** How the kept visual tokens of an image are ranked. */
public enum Reducer {
  /** Resizes the image to that many tokens. An encoder refuses it. */
  RESIZE,
  /** By saliency and coverage. */
  SCOPE,
  /** By diversity. */
  DIVPRUNE,
  /** At even distances over the image. */
  STRIDE,
  /** At random, the same for every image of a size. */
  RANDOM
}
