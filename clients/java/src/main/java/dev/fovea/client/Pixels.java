package dev.fovea.client;

import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.IOException;

/**
 * A decoded picture as rows of red, green and blue on white, 0 to 255. Colour profiles are not
 * applied, as in the services.
 */
final class Pixels {
  private static final int WHITE = 255;

  private final Raster raster;
  private final ColorModel colors;
  private final int shift;
  private int[] samples;

  private Pixels(BufferedImage image) {
    raster = image.getRaster();
    colors = image.getColorModel();
    shift = raster.getDataBuffer().getDataType() == DataBuffer.TYPE_USHORT ? 8 : 0;
  }

  /** Refuses pictures that are not grey, RGB or palette. */
  static Pixels of(BufferedImage image) throws IOException {
    ColorModel colors = image.getColorModel();
    boolean plain =
        colors instanceof ComponentColorModel
            && colors.getNumColorComponents() != 2
            && colors.getNumColorComponents() <= 3;
    if (!plain && !(colors instanceof IndexColorModel)) {
      throw new IOException("pixels of another kind: " + colors);
    }
    return new Pixels(image);
  }

  Size size() {
    return new Size(raster.getWidth(), raster.getHeight());
  }

  /** Row `y` into `rgb`, three values a pixel. */
  void row(int y, float[] rgb) {
    samples = raster.getPixels(0, y, raster.getWidth(), 1, samples);
    int bands = raster.getNumBands();
    for (int x = 0; x < raster.getWidth(); x++) {
      if (colors instanceof IndexColorModel palette) {
        int at = samples[x * bands];
        int alpha = palette.getAlpha(at);
        put(rgb, x, palette.getRed(at), palette.getGreen(at), palette.getBlue(at), alpha);
      } else {
        plain(rgb, x, x * bands, bands);
      }
    }
  }

  private void plain(float[] rgb, int x, int at, int bands) {
    int second = bands >= 3 ? 1 : 0;
    int alpha = bands % 2 == 0 ? samples[at + bands - 1] >> shift : WHITE;
    put(
        rgb,
        x,
        samples[at] >> shift,
        samples[at + second] >> shift,
        samples[at + 2 * second] >> shift,
        alpha);
  }

  private static void put(float[] rgb, int x, int red, int green, int blue, int alpha) {
    rgb[3 * x] = onWhite(red, alpha);
    rgb[3 * x + 1] = onWhite(green, alpha);
    rgb[3 * x + 2] = onWhite(blue, alpha);
  }

  private static float onWhite(int value, int alpha) {
    return (value * alpha + WHITE * (WHITE - alpha)) / (float) WHITE;
  }
}
