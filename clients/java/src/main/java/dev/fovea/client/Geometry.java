package dev.fovea.client;

import io.grpc.Status;
import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * From the width and height of an image to the visual tokens that it costs, as the services count
 * them. A patch is 16x16 pixels; a visual token is a square of 2x2 patches, so 32x32 pixels. Limits
 * count pixels: those of a checkpoint, as GetServerInfo tells them.
 */
public record Geometry(int minPixels, int maxPixels) {
  /** The limits of the published checkpoints. */
  public static final Geometry STANDARD = new Geometry(65_536, 16_777_216);

  /** What a service takes where a request names no maxPixels: 1,280 tokens. */
  public static final int DEFAULT_MAX_PIXELS = 1_310_720;

  private static final int PATCH = 16;
  private static final int CELL = 32;
  private static final int MAX_ASPECT = 200;

  /** What an image becomes: its size after one resize, its grid of patches, its cost. */
  public record Plan(Size size, Grid grid, int patches, int tokens) {}

  /** The plan at the checkpoint's own limit. */
  public Plan plan(int width, int height) {
    return plan(width, height, maxPixels);
  }

  /** The plan of an upright image; {@code most} lowers the checkpoint's limit, never raises it. */
  public Plan plan(int width, int height, int most) {
    check(width, height);
    if (most < 1) {
      throw refused(Reason.INVALID_ARGUMENT, width, height, "maxPixels must be at least 1");
    }
    Size size = resize(width, height, Math.min(most, maxPixels));
    Grid grid = new Grid(1, size.height() / PATCH, size.width() / PATCH);
    int patches = grid.h() * grid.w();
    return new Plan(size, grid, patches, patches / 4);
  }

  /**
   * The one limit that says what bounds of pixels and of sides say together, for {@link #plan}. A
   * side of 0 is no bound, and one that the image keeps already changes nothing. Never below the
   * fewest pixels, to which a plan enlarges.
   *
   * <p>What bounds a side is one pixel more than the exact product, because a plan rounds down to
   * whole cells: a side that would come out a hair below its bound would lose a cell.
   */
  public int limit(int width, int height, int most, int maxShortSide, int maxLongSide) {
    check(width, height);
    if (most < 1 || maxShortSide < 0 || maxLongSide < 0) {
      throw refused(Reason.INVALID_ARGUMENT, width, height, "limits must be above 0");
    }
    int limit = Math.min(most, maxPixels);
    limit = bounded(limit, width, height, maxShortSide, Math.min(width, height));
    return within(bounded(limit, width, height, maxLongSide, Math.max(width, height)));
  }

  /**
   * The largest limit whose plan costs at most so many tokens; absent where there is none. Below the
   * image's own rounded size the cost never falls as the limit grows, so that halving finds the edge.
   */
  public OptionalInt largestFitting(int width, int height, int tokens) {
    if (plan(width, height).tokens() <= tokens) {
      return OptionalInt.of(maxPixels);
    }
    double own = Math.rint((double) width / CELL) * Math.rint((double) height / CELL) * CELL * CELL;
    int fits = 0;
    int exceeds = (int) Math.min(own, maxPixels);
    while (exceeds - fits > 1) {
      int middle = (fits + exceeds) >>> 1;
      if (plan(width, height, middle).tokens() <= tokens) {
        fits = middle;
      } else {
        exceeds = middle;
      }
    }
    return fits > 0 ? OptionalInt.of(fits) : OptionalInt.empty();
  }

  /** The nearest limit that the checkpoint's own allow. */
  int within(int most) {
    return Math.max(minPixels, Math.min(most, maxPixels));
  }

  private static int bounded(int limit, int width, int height, int bound, int side) {
    if (bound == 0 || bound >= side) {
      return limit;
    }
    BigInteger pixels = BigInteger.valueOf((long) width * height);
    BigInteger scaled =
        pixels
            .multiply(BigInteger.valueOf((long) bound * bound))
            .divide(BigInteger.valueOf((long) side * side))
            .add(BigInteger.ONE);
    return scaled.min(BigInteger.valueOf(limit)).intValueExact();
  }

  /**
   * As `smart_resize` of transformers' Qwen2-VL image processor: sides are rounded to multiples of a
   * cell, half to even, then scaled by one factor and floored where there are too many pixels, or
   * scaled and ceiled where there are too few.
   */
  private Size resize(int width, int height, int most) {
    double pixels = (double) width * height;
    double newWidth = Math.rint((double) width / CELL) * CELL;
    double newHeight = Math.rint((double) height / CELL) * CELL;
    if (newHeight * newWidth > most) {
      double scale = Math.sqrt(pixels / most);
      newHeight = Math.max(CELL, Math.floor(height / scale / CELL) * CELL);
      newWidth = Math.max(CELL, Math.floor(width / scale / CELL) * CELL);
    } else if (newHeight * newWidth < minPixels) {
      double scale = Math.sqrt(minPixels / pixels);
      newHeight = Math.ceil(height * scale / CELL) * CELL;
      newWidth = Math.ceil(width * scale / CELL) * CELL;
    }
    return new Size((int) newWidth, (int) newHeight);
  }

  private static void check(int width, int height) {
    if (Math.min(width, height) < 1) {
      throw refused(Reason.INVALID_ARGUMENT, width, height, "both sides must be at least 1");
    }
    if (tooLong(width, height)) {
      String why = "one side may be at most " + MAX_ASPECT + " times the other";
      throw refused(Reason.IMAGE_ASPECT_TOO_EXTREME, width, height, why);
    }
  }

  /** Whether one side is more than 200 times the other, which the model's processor refuses. */
  static boolean tooLong(int width, int height) {
    return (double) Math.max(width, height) / Math.min(width, height) > MAX_ASPECT;
  }

  private static FoveaException refused(Reason reason, int width, int height, String why) {
    return new FoveaException(
        Status.Code.INVALID_ARGUMENT,
        reason.name(),
        "the image is " + width + "x" + height + ": " + why,
        Map.of("width", Integer.toString(width), "height", Integer.toString(height)),
        List.of(),
        null,
        "",
        null);
  }
}
