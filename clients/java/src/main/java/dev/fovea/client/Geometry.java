package dev.fovea.client;

import io.grpc.Status;
import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * Computes the visual tokens of an image from its width and height, as the services do. A patch is
 * 16x16 pixels; a visual token merges 2x2 patches, so 32x32 pixels. Limits are in pixels; those of
 * a checkpoint come from GetServerInfo.
 */
public record Geometry(int minPixels, int maxPixels) {
  /** The limits of the published checkpoints. */
  public static final Geometry STANDARD = new Geometry(65_536, 16_777_216);

  /** The maxPixels of a request that has none: 1,280 tokens. */
  public static final int DEFAULT_MAX_PIXELS = 1_310_720;

  private static final int PATCH = 16;
  private static final int CELL = 32;
  private static final int MAX_ASPECT = 200;

  /** The plan of an image: its size after a single resize, its grid of patches, its cost. */
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
   * Combines bounds on pixels and sides into a single limit for {@link #plan}. A side of 0 is no
   * bound, and a bound that the image already meets changes nothing. Never below the smallest size,
   * to which a plan enlarges.
   *
   * <p>A bound on a side is a pixel more than the exact product, because a plan rounds down to
   * whole cells: a side just below its bound would lose a cell.
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
   * The largest limit whose plan costs at most this many tokens; absent if there is none. Below the
   * image's own rounded size the cost never falls as the limit grows, so bisection locates the
   * edge.
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

  /** Clamps a limit to the checkpoint's own limits. */
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
   * As `smart_resize` of transformers' Qwen2-VL image processor: sides are rounded to multiples of
   * a cell, half to even. With too many pixels, both are scaled by the same factor and rounded
   * down; with too few, scaled and rounded up.
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

  /**
   * Whether the longer side is more than 200 times the shorter, which the model's processor
   * refuses.
   */
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
