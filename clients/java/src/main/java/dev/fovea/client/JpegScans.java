package dev.fovea.client;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The segments of a JPEG, including those after scans, and whether its scans contain the whole
 * picture. ImageIO accepts a truncated file and leaves out what is missing.
 */
final class JpegScans {
  private static final int SCAN = 0xda;
  private static final int END = 0xd9;
  private static final int PROGRESSIVE = 0xc2;
  private static final int COEFFICIENTS = 64;

  private JpegScans() {}

  /** A marker and the data after its length. The data of a scan is skipped. */
  record Segment(int marker, ByteBuffer body) {
    int at(int index) {
      return body.get(index) & 0xff;
    }
  }

  /**
   * Reads up to the end marker. Throws the buffer's exception if the file ends within a segment.
   */
  static List<Segment> segments(ByteBuffer file) {
    List<Segment> found = new ArrayList<>();
    file.position(2);
    for (int marker = next(file); marker != END; marker = next(file)) {
      int length = (file.getShort() & 0xffff) - 2;
      if (length < 0 || length > file.remaining()) {
        throw new BufferUnderflowException();
      }
      found.add(new Segment(marker, file.slice().limit(length).slice()));
      file.position(file.position() + length);
    }
    return found;
  }

  /** Whether the scans contain every coefficient of every component to its last bit. */
  static boolean complete(ByteBuffer file) {
    try {
      return missing(segments(file)).isEmpty();
    } catch (BufferUnderflowException | IndexOutOfBoundsException cutOff) {
      return false;
    }
  }

  /** Positions of coefficients by component: its id times 64, plus the position in a block. */
  private static Set<Integer> missing(List<Segment> segments) {
    Set<Integer> missing = new HashSet<>();
    boolean progressive = false;
    for (Segment segment : segments) {
      if (segment.marker >= 0xc0 && segment.marker <= PROGRESSIVE) {
        progressive = segment.marker == PROGRESSIVE;
        for (int at = 6; at < 6 + 3 * segment.at(5); at += 3) {
          add(missing, segment.at(at));
        }
      } else if (segment.marker == SCAN) {
        remove(missing, segment, progressive);
      }
    }
    return missing;
  }

  private static void add(Set<Integer> missing, int component) {
    for (int place = 0; place < COEFFICIENTS; place++) {
      missing.add(component * COEFFICIENTS + place);
    }
  }

  private static void remove(Set<Integer> missing, Segment scan, boolean progressive) {
    int selection = 1 + 2 * scan.at(0);
    if (progressive && (scan.at(selection + 2) & 15) != 0) {
      return; // its last bits come later
    }
    int first = progressive ? scan.at(selection) : 0;
    int last = progressive ? Math.min(scan.at(selection + 1), COEFFICIENTS - 1) : COEFFICIENTS - 1;
    for (int at = 1; at < selection; at += 2) {
      for (int place = first; place <= last; place++) {
        missing.remove(scan.at(at) * COEFFICIENTS + place);
      }
    }
  }

  /**
   * The next marker that begins a segment. A zero or a restart marker belongs to the data of a
   * scan.
   */
  private static int next(ByteBuffer file) {
    while (file.remaining() >= 2) {
      if (file.get() != (byte) 0xff) {
        continue;
      }
      int marker = file.get(file.position()) & 0xff;
      if (marker > 1 && marker < 0xff && (marker < 0xd0 || marker > 0xd8)) {
        file.get();
        return marker;
      }
    }
    return END;
  }
}
