package dev.fovea.client;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.Arrays;
import java.util.zip.CRC32;
import java.util.zip.DeflaterOutputStream;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;

/** Image files for tests. */
final class Pictures {
  private Pictures() {}

  /** Every pixel differs, so that no compression helps. */
  static BufferedImage noise(int width, int height, int seed) {
    var image = new BufferedImage(width, height, BufferedImage.TYPE_3BYTE_BGR);
    byte[] row = new byte[3 * width];
    int[] samples = new int[3 * width];
    Random random = new Random(seed);
    for (int y = 0; y < height; y++) {
      random.nextBytes(row);
      for (int i = 0; i < row.length; i++) {
        samples[i] = row[i] & 0xff;
      }
      image.getRaster().setPixels(0, y, width, 1, samples);
    }
    return image;
  }

  /** A ramp from left to right, a darker one downwards: smooth, so that files are small. */
  static BufferedImage ramp(int width, int height) {
    var image = new BufferedImage(width, height, BufferedImage.TYPE_3BYTE_BGR);
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        image.setRGB(x, y, (255 * x / width) << 16 | (255 * y / height) << 8 | 64);
      }
    }
    return image;
  }

  /** The best quality: for PNG that means stored, not compressed, which is fast. */
  static byte[] file(BufferedImage image, String format) {
    return file(image, format, false);
  }

  static byte[] file(BufferedImage image, String format, boolean progressive) {
    ImageWriter writer = ImageIO.getImageWritersByFormatName(format).next();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (var out = new MemoryCacheImageOutputStream(bytes)) {
      ImageWriteParam how = writer.getDefaultWriteParam();
      if (format.equals("png") || format.equals("jpeg")) {
        how.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
        how.setCompressionQuality(1);
      }
      if (progressive) {
        how.setProgressiveMode(ImageWriteParam.MODE_DEFAULT);
      }
      writer.setOutput(out);
      writer.write(null, new IIOImage(image, null, null), how);
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    } finally {
      writer.dispose();
    }
    return bytes.toByteArray();
  }

  static byte[] png(int width, int height, int seed) {
    return file(noise(width, height, seed), "png");
  }

  /** The picture with an EXIF orientation, in a JPEG. */
  static byte[] turnedJpeg(BufferedImage image, int orientation) {
    byte[] tiff = {
      'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, (byte) orientation, 0, 0, 0, 0,
      0, 0
    };
    return jpegWith(image, "Exif\0\0" + new String(tiff, StandardCharsets.ISO_8859_1));
  }

  /** The picture with a first segment of metadata, in a JPEG. */
  static byte[] jpegWith(BufferedImage image, String metadata) {
    byte[] jpeg = file(image, "jpeg");
    byte[] segment = metadata.getBytes(StandardCharsets.ISO_8859_1);
    return ByteBuffer.allocate(jpeg.length + 4 + segment.length)
        .put(jpeg, 0, 2)
        .putShort((short) 0xffe1)
        .putShort((short) (2 + segment.length))
        .put(segment)
        .put(jpeg, 2, jpeg.length - 2)
        .array();
  }

  /** A PNG with a chunk behind its header. */
  static byte[] pngWith(byte[] png, String kind, byte[] body) {
    int header = 8 + 12 + 13;
    byte[] named =
        ByteBuffer.allocate(4 + body.length)
            .put(kind.getBytes(StandardCharsets.US_ASCII))
            .put(body)
            .array();
    return ByteBuffer.allocate(png.length + 8 + named.length)
        .put(png, 0, header)
        .putInt(body.length)
        .put(named)
        .putInt(crc(named))
        .put(png, header, png.length - header)
        .array();
  }

  /** A text of a PNG: its key, what stands between, and the text, deflated. */
  static byte[] compressed(String keyAndFlags, String text) {
    var bytes = new ByteArrayOutputStream();
    try (var out = new DeflaterOutputStream(bytes)) {
      bytes.write(keyAndFlags.getBytes(StandardCharsets.ISO_8859_1));
      out.write(text.getBytes(StandardCharsets.ISO_8859_1));
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
    return bytes.toByteArray();
  }

  /** The file up to a share of its length, closed with the bytes that end it. */
  static byte[] cut(byte[] file, double share, int... end) {
    byte[] cut = Arrays.copyOf(file, (int) (share * file.length) + end.length);
    for (int i = 0; i < end.length; i++) {
      cut[cut.length - end.length + i] = (byte) end[i];
    }
    return cut;
  }

  /** A PNG whose header says this size, without the pixels for it. */
  static byte[] hollowPng(int width, int height) {
    ByteBuffer file = ByteBuffer.allocate(8 + 25 + 12);
    file.put(new byte[] {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}).putInt(13);
    byte[] head =
        ByteBuffer.allocate(17)
            .put("IHDR".getBytes(StandardCharsets.US_ASCII))
            .putInt(width)
            .putInt(height)
            .put(new byte[] {8, 2, 0, 0, 0})
            .array();
    file.put(head).putInt(crc(head)).putInt(0);
    byte[] end = "IEND".getBytes(StandardCharsets.US_ASCII);
    return file.put(end).putInt(crc(end)).array();
  }

  /** A progressive JPEG whose last scan is repeated. */
  static byte[] manyScans(int times) {
    byte[] jpeg = file(noise(64, 64, 1), "jpeg", true);
    int last = jpeg.length - 2;
    while (jpeg[last] != (byte) 0xff || jpeg[last + 1] != (byte) 0xda) {
      last--;
    }
    var bytes = new ByteArrayOutputStream();
    bytes.write(jpeg, 0, last);
    for (int i = 0; i < times; i++) {
      bytes.write(jpeg, last, jpeg.length - 2 - last);
    }
    bytes.write(jpeg, jpeg.length - 2, 2);
    return bytes.toByteArray();
  }

  private static int crc(byte[] bytes) {
    CRC32 crc = new CRC32();
    crc.update(bytes);
    return (int) crc.getValue();
  }
}
