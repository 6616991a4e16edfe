package dev.fovea.client;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * What stands before the pixels of a file: its format and its EXIF orientation. Reads JPEG and PNG;
 * where the orientation is written in a way that is not read here, it is unclear.
 */
final class FileHead {
  static final int UNCLEAR = 0;

  private static final int UPRIGHT = 1;
  private static final int TAG = 0x0112;
  private static final int SHORT = 3;
  private static final byte[] PNG = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  private static final String EXIF = "Exif\0\0";

  private FileHead() {}

  /** As ImageIO names it, by the first bytes; empty for what is not read here. */
  static String format(byte[] file) {
    if (starts(file, new byte[] {(byte) 0xff, (byte) 0xd8, (byte) 0xff})) {
      return "jpeg";
    }
    if (starts(file, PNG)) {
      return "png";
    }
    return starts(file, "GIF8".getBytes(StandardCharsets.US_ASCII)) ? "gif" : "";
  }

  /** 1 to 8, or UNCLEAR. */
  static int orientation(byte[] file) {
    try {
      return switch (format(file)) {
        case "jpeg" -> ofJpeg(ByteBuffer.wrap(file));
        case "png" -> ofPng(ByteBuffer.wrap(file));
        default -> UPRIGHT;
      };
    } catch (BufferUnderflowException | IllegalArgumentException cutOff) {
      return UNCLEAR;
    }
  }

  /** False for a GIF whose first frame covers only a part of its screen. */
  static boolean wholeFrame(byte[] file, Size frame) {
    if (!format(file).equals("gif")) {
      return true;
    }
    ByteBuffer screen = ByteBuffer.wrap(file, 6, 4).order(ByteOrder.LITTLE_ENDIAN);
    return frame.equals(new Size(screen.getShort() & 0xffff, screen.getShort() & 0xffff));
  }

  private static boolean starts(byte[] file, byte[] with) {
    return file.length >= with.length
        && ByteBuffer.wrap(file, 0, with.length).equals(ByteBuffer.wrap(with));
  }

  /** The segments up to the first scan. */
  private static int ofJpeg(ByteBuffer file) {
    int found = UPRIGHT;
    file.position(2);
    while (true) {
      int marker = file.getShort() & 0xffff;
      if (marker == 0xffda || marker < 0xff00) {
        return found;
      }
      ByteBuffer segment = next(file, (file.getShort() & 0xffff) - 2);
      String text = text(segment);
      if (marker == 0xffe1 && text.startsWith(EXIF)) {
        return ofTiff(segment.position(EXIF.length()).slice());
      }
      found = text.contains("tiff:Orientation") ? UNCLEAR : found;
    }
  }

  /** The chunks up to the last: EXIF may stand behind the pixels. */
  private static int ofPng(ByteBuffer file) {
    int found = UPRIGHT;
    file.position(PNG.length);
    while (file.remaining() >= 12) {
      int length = file.getInt();
      String kind = text(next(file, 4));
      ByteBuffer chunk = next(file, length);
      file.getInt(); // its checksum
      if (kind.equals("eXIf")) {
        return ofTiff(chunk.slice());
      }
      if (kind.endsWith("TXt") || kind.endsWith("EXt")) {
        String text = text(chunk);
        boolean hides = text.contains("tiff:Orientation") || text.startsWith("Raw profile type");
        found = hides ? UNCLEAR : found;
      }
    }
    return found;
  }

  private static int ofTiff(ByteBuffer tiff) {
    tiff.order(tiff.getShort(0) == 0x4949 ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
    tiff.position(tiff.getInt(4));
    for (int entries = tiff.getShort() & 0xffff; entries > 0; entries--) {
      ByteBuffer entry = next(tiff, 12).slice().order(tiff.order());
      if ((entry.getShort(0) & 0xffff) == TAG) {
        int value = entry.getShort(2) == SHORT ? entry.getShort(8) : UNCLEAR;
        return value >= 1 && value <= 8 ? value : UNCLEAR;
      }
    }
    return UPRIGHT;
  }

  /** The next bytes as a view of their own. */
  private static ByteBuffer next(ByteBuffer from, int length) {
    ByteBuffer view = from.slice().limit(length);
    from.position(from.position() + length);
    return view;
  }

  private static String text(ByteBuffer bytes) {
    byte[] copy = new byte[bytes.remaining()];
    bytes.duplicate().get(copy);
    return new String(copy, StandardCharsets.ISO_8859_1);
  }
}
