package dev.fovea.client;

/** Which visual tokens of an image are kept where not all are. */
public enum Reducer {
  /** The image is made smaller until it has as many; an encoder refuses it. */
  RESIZE,
  /** By attention, and by what a token adds to those that are kept. */
  SCOPE,
  /** By how different a token is from those that are kept. */
  DIVPRUNE,
  /** Evenly over the image. */
  STRIDE,
  /** At random, the same for every image of a size. */
  RANDOM
}
