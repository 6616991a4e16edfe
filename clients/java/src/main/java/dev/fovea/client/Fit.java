package dev.fovea.client;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Iterator;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;

/**
 * Shrinks a file before upload to the size that the service would plan: fewer bytes, the same
 * answer. The result is upright and on white, as the service would see it. A JPEG stays a JPEG,
 * other formats become PNG. Never enlarges. A file that would not become smaller, or that is not
 * read here (WebP, damaged, unclear orientation), is returned unchanged; the service judges it.
 *
 * <p>{@code budget} is that of the question, {@code geometry} that of the model. Pixels, sides and
 * tokens are respected. Detail and reduction still apply to the shrunk picture.
 */
public record Fit(Geometry geometry, Budget budget) {
  /** For the published checkpoints and a question without maxPixels. */
  public static final Fit STANDARD = new Fit(Geometry.STANDARD, Budget.DEFAULT);

  private static final float JPEG_QUALITY = 0.92f;

  /** For a question with this maxPixels and no other bound. */
  public Fit(Geometry geometry, int maxPixels) {
    this(geometry, Budget.with().maxPixels(maxPixels).build());
  }

  /** The file, shrunk; or the same array. */
  public byte[] shrink(byte[] file) {
    String format = FileHead.format(file);
    int orientation = FileHead.orientation(file);
    if (format.isEmpty() || orientation == FileHead.UNCLEAR) {
      return file;
    }
    try {
      byte[] shrunk = shrink(file, format, Orientation.of(orientation));
      return shrunk.length < file.length ? shrunk : file;
    } catch (IOException | RuntimeException notUnderstood) {
      // ImageIO answers damaged files with both. The service will say what is wrong with the file.
      return file;
    }
  }

  /**
   * The size to which an upright picture of this size is shrunk; absent if it stays unchanged. It
   * costs the same number of tokens, give or take a single token.
   */
  public Optional<Size> target(int width, int height) {
    Geometry.Plan plan = planned(width, height);
    Size size = plan.size();
    boolean shrinks = size.width() <= width && size.height() <= height;
    if (!shrinks || size.equals(new Size(width, height)) || !costsTheSame(plan)) {
      return Optional.empty();
    }
    return Optional.of(size);
  }

  /** Strips and small limits can lead to a size that would be planned differently again. */
  private boolean costsTheSame(Geometry.Plan plan) {
    Size size = plan.size();
    if (Geometry.tooLong(size.width(), size.height())) {
      return false;
    }
    return Math.abs(planned(size.width(), size.height()).tokens() - plan.tokens()) <= 1;
  }

  private Geometry.Plan planned(int width, int height) {
    return geometry.plan(width, height, budget.limit(width, height, geometry));
  }

  private byte[] shrink(byte[] file, String format, Orientation orientation) throws IOException {
    ImageReader reader = ImageIO.getImageReadersByFormatName(format).next();
    try (ImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(file))) {
      reader.setInput(in, true, true);
      Size lying = new Size(reader.getWidth(0), reader.getHeight(0));
      Size upright = orientation.turned(lying);
      Optional<Size> target = target(upright.width(), upright.height());
      if (target.isEmpty() || !FileHead.wholeFrame(file, lying) || !FileHead.plain(file)) {
        return file;
      }
      AtomicBoolean doubtful = new AtomicBoolean();
      reader.addIIOReadWarningListener((source, warning) -> doubtful.set(true));
      Pixels pixels = Pixels.of(reader.read(0));
      if (doubtful.get()) { // it fills in what is missing
        return file;
      }
      BufferedImage small = Scaler.scale(pixels, orientation.turned(target.get()), orientation);
      return format.equals("jpeg") ? written(small, "jpeg") : written(small, "png");
    } finally {
      reader.dispose();
    }
  }

  private static byte[] written(BufferedImage image, String format) throws IOException {
    Iterator<ImageWriter> writers = ImageIO.getImageWritersByFormatName(format);
    ImageWriter writer = writers.next();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (var out = new MemoryCacheImageOutputStream(bytes)) {
      ImageWriteParam how = writer.getDefaultWriteParam();
      if (format.equals("jpeg")) {
        how.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
        how.setCompressionQuality(JPEG_QUALITY);
      }
      writer.setOutput(out);
      writer.write(null, new IIOImage(image, null, null), how);
    } finally {
      writer.dispose();
    }
    return bytes.toByteArray();
  }
}
