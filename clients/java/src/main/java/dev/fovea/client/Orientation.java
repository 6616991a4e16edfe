package dev.fovea.client;

/** How a viewer turns a picture: mirrored left to right, then turned clockwise by quarters. */
enum Orientation {
  UPRIGHT(false, 0),
  MIRRORED(true, 0),
  UPSIDE_DOWN(false, 2),
  MIRRORED_UPSIDE_DOWN(true, 2),
  TRANSPOSED(true, 3),
  LEFT(false, 1),
  TRANSVERSED(true, 1),
  RIGHT(false, 3);

  private final boolean mirrored;
  private final int quarters;

  Orientation(boolean mirrored, int quarters) {
    this.mirrored = mirrored;
    this.quarters = quarters;
  }

  /** By the value of the EXIF tag, 1 to 8. */
  static Orientation of(int exif) {
    return values()[exif - 1];
  }

  /** The upright size from the stored size, or the other way round. */
  Size turned(Size size) {
    return quarters % 2 == 0 ? size : new Size(size.height(), size.width());
  }

  /** The position of stored pixel (x, y) in the upright picture, as {x, y}. */
  int[] place(int x, int y, Size lying) {
    int right = lying.width() - 1;
    int bottom = lying.height() - 1;
    int from = mirrored ? right - x : x;
    return switch (quarters) {
      case 0 -> new int[] {from, y};
      case 1 -> new int[] {bottom - y, from};
      case 2 -> new int[] {right - from, bottom - y};
      default -> new int[] {y, right - from};
    };
  }
}
