package dev.fovea.client;

import java.awt.image.BufferedImage;

/**
 * Resizes with the antialiased bicubic filter of the model's image processor. It holds a single row
 * of the large picture at a time, in addition to the small picture.
 */
final class Scaler {
  private Scaler() {}

  /** The picture at `size`, both unturned, then turned upright. */
  static BufferedImage scale(Pixels pixels, Size size, Orientation orientation) {
    Size from = pixels.size();
    Axis across = Axis.of(from.width(), size.width());
    Axis down = Axis.of(from.height(), size.height());
    float[] row = new float[3 * from.width()];
    float[] narrow = new float[3 * size.width()];
    float[][] sums = new float[size.height()][3 * size.width()];
    for (int y = 0, least = 0; y < from.height(); y++) {
      pixels.row(y, row);
      across.apply(row, narrow);
      while (down.end(least) <= y) {
        least++;
      }
      for (int out = least; out < size.height() && down.first[out] <= y; out++) {
        add(sums[out], narrow, down.weights[out][y - down.first[out]]);
      }
    }
    return picture(sums, size, orientation);
  }

  private static void add(float[] sum, float[] row, float weight) {
    for (int i = 0; i < row.length; i++) {
      sum[i] += weight * row[i];
    }
  }

  private static BufferedImage picture(float[][] rows, Size lying, Orientation orientation) {
    Size upright = orientation.turned(lying);
    var image = new BufferedImage(upright.width(), upright.height(), BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < lying.height(); y++) {
      for (int x = 0; x < lying.width(); x++) {
        int[] place = orientation.place(x, y, lying);
        float[] row = rows[y];
        int rgb = level(row[3 * x]) << 16 | level(row[3 * x + 1]) << 8 | level(row[3 * x + 2]);
        image.setRGB(place[0], place[1], rgb);
      }
    }
    return image;
  }

  private static int level(float value) {
    return Math.max(0, Math.min(255, Math.round(value)));
  }

  /** For each position on the small side: the first position on the large side, and the weights. */
  private record Axis(int[] first, float[][] weights) {
    private static final double A = -0.5;

    static Axis of(int from, int to) {
      Axis axis = new Axis(new int[to], new float[to][]);
      double scale = (double) from / to;
      double stretch = Math.max(1, scale);
      for (int out = 0; out < to; out++) {
        double center = (out + 0.5) * scale;
        int first = Math.max(0, (int) (center - 2 * stretch + 0.5));
        int end = Math.min(from, (int) (center + 2 * stretch + 0.5));
        axis.first[out] = first;
        axis.weights[out] = weights(first, end, center, stretch);
      }
      return axis;
    }

    private static float[] weights(int first, int end, double center, double stretch) {
      double[] exact = new double[end - first];
      double sum = 0;
      for (int i = 0; i < exact.length; i++) {
        exact[i] = cubic(Math.abs((first + i + 0.5 - center) / stretch));
        sum += exact[i];
      }
      float[] weights = new float[exact.length];
      for (int i = 0; i < exact.length; i++) {
        weights[i] = (float) (exact[i] / sum);
      }
      return weights;
    }

    private static double cubic(double x) {
      if (x < 1) {
        return ((A + 2) * x - (A + 3)) * x * x + 1;
      }
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0;
    }

    int end(int out) {
      return first[out] + weights[out].length;
    }

    void apply(float[] row, float[] narrow) {
      for (int out = 0; out < first.length; out++) {
        float red = 0;
        float green = 0;
        float blue = 0;
        int at = 3 * first[out];
        for (float weight : weights[out]) {
          red += weight * row[at];
          green += weight * row[at + 1];
          blue += weight * row[at + 2];
          at += 3;
        }
        narrow[3 * out] = red;
        narrow[3 * out + 1] = green;
        narrow[3 * out + 2] = blue;
      }
    }
  }
}
