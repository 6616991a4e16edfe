package dev.fovea.client;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.zip.CRC32;

/**
 * The head of a file: its format and its EXIF orientation. Reads JPEG and PNG. If the orientation
 * may be written where this class does not read it, it is unclear.
 */
final class FileHead {
  static final int UNCLEAR = 0;

  private static final int UPRIGHT = 1;
  private static final int NONE = -1;
  private static final int TAG = 0x0112;
  private static final int SHORT = 3;
  private static final byte[] PNG = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  private static final int COLOR_TYPE = 9;
  private static final int PALETTE = 3;
  private static final Set<String> TEXTS = Set.of("tEXt", "zTXt", "iTXt");
  private static final String EXIF = "Exif\0\0";

  private FileHead() {}

  /** The format name of ImageIO, by the first bytes. Empty for formats that are not read here. */
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

  /** False if a decoder would not report that part of the picture is missing or transparent. */
  static boolean plain(byte[] file) {
    return switch (format(file)) {
      case "jpeg" -> JpegScans.complete(ByteBuffer.wrap(file));
      case "png" -> !hasTransparentColor(ByteBuffer.wrap(file));
      default -> true;
    };
  }

  private static int ofJpeg(ByteBuffer file) {
    boolean hides = false;
    for (JpegScans.Segment segment : JpegScans.segments(file)) {
      String text = text(segment.body());
      if (segment.marker() == 0xe1 && text.startsWith(EXIF)) {
        int found = ofTiff(segment.body().position(EXIF.length()).slice());
        if (found != NONE) {
          return found;
        }
      }
      hides |= text.contains("tiff:Orientation");
    }
    return hides ? UNCLEAR : UPRIGHT;
  }

  /** The chunks up to the last. EXIF may follow the pixels. */
  private static int ofPng(ByteBuffer file) {
    boolean hides = false;
    for (Chunk chunk = Chunk.first(file); chunk != null; chunk = Chunk.next(file)) {
      if (chunk.kind.equals("eXIf")) {
        int found = chunk.sound ? ofTiff(chunk.body.slice()) : UNCLEAR;
        if (found != NONE) {
          return found;
        }
      }
      hides |= TEXTS.contains(chunk.kind) && hidesOrientation(text(chunk.body));
    }
    return hides ? UNCLEAR : UPRIGHT;
  }

  /** In chunks of ImageMagick, in XMP, or in compressed XMP. */
  private static boolean hidesOrientation(String text) {
    return text.contains("tiff:Orientation")
        || text.startsWith("Raw profile type")
        || (text.startsWith("XML:com.adobe.xmp\0") && !text.startsWith("XML:com.adobe.xmp\0\0"));
  }

  /** A tRNS chunk of a picture without a palette: readers compare its colour in several ways. */
  private static boolean hasTransparentColor(ByteBuffer file) {
    Chunk header = Chunk.first(file);
    boolean palette = header != null && header.body.get(COLOR_TYPE) == PALETTE;
    boolean transparent = false;
    for (Chunk chunk = header; chunk != null; chunk = Chunk.next(file)) {
      transparent |= chunk.kind.equals("tRNS");
    }
    return transparent && !palette;
  }

  /** A chunk of a PNG. It is sound if its checksum matches. */
  private record Chunk(String kind, ByteBuffer body, boolean sound) {
    static Chunk first(ByteBuffer file) {
      file.position(PNG.length);
      return next(file);
    }

    /** Null after the last. */
    static Chunk next(ByteBuffer file) {
      if (file.remaining() < 12) {
        return null;
      }
      int length = file.getInt();
      CRC32 checksum = new CRC32();
      ByteBuffer named = FileHead.next(file, 4 + length);
      checksum.update(named.duplicate());
      String kind = text(FileHead.next(named, 4));
      return new Chunk(kind, named.slice(), file.getInt() == (int) checksum.getValue());
    }
  }

  /** NONE if the tag is absent. */
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
    return NONE;
  }

  /** The next bytes, as a separate view. */
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
