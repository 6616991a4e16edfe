package dev.fovea.client;

import com.dynatrace.hash4j.hashing.Hashing;
import dev.fovea.encoder.v1.EncodeHeader;
import dev.fovea.encoder.v1.EncodeResponse;
import dev.fovea.encoder.v1.EncodeSummary;
import dev.fovea.vision.v1.RowChunk;
import io.grpc.Status;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * Collects the rows of an Encode stream and trusts nothing. Layout, indices, order, count, length
 * and checksum of every chunk are compared with the header, and the digest of the whole with the
 * summary.
 */
final class RowAssembly {
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();
  private EncodeHeader header;
  private RowLayout layout;
  private List<Integer> kept;
  private EncodeSummary summary;
  private int next;

  /** Takes the next message. Fails at the first mismatch. */
  void take(EncodeResponse message) {
    switch (message.getEventCase()) {
      case HEADER -> open(message.getHeader());
      case CHUNK -> add(message.getChunk());
      case SUMMARY -> summary = message.getSummary();
      case EVENT_NOT_SET -> {
        // An event of a later server: what it means cannot change the rows.
      }
    }
  }

  private void open(EncodeHeader received) {
    if (header != null) {
      throw mismatch("the stream has a second header");
    }
    header = received;
    layout =
        Convert.layout(received.getLayout())
            .orElseThrow(() -> mismatch("the rows have a layout that is unknown here"));
    kept = kept(received);
  }

  /** The kept indices, ascending and on the grid. Empty if all rows are present. */
  static List<Integer> kept(EncodeHeader header) {
    int last = -1;
    for (int place : header.getKeptList()) {
      if (place <= last || place >= header.getCount().getTokens()) {
        throw mismatch("the place " + place + " came after " + last);
      }
      last = place;
    }
    if (last >= 0 && header.getKeptCount() != header.getRows()) {
      throw mismatch(header.getKeptCount() + " places for " + header.getRows() + " rows");
    }
    return List.copyOf(header.getKeptList());
  }

  private void add(RowChunk chunk) {
    if (header == null) {
      throw mismatch("rows came before their header");
    }
    byte[] rows = chunk.getData().toByteArray();
    int count = chunk.getRows();
    boolean inOrder =
        count > 0 && chunk.getFirstRow() == next && count <= header.getRows() - next;
    if (!inOrder || rows.length != (long) count * layout.rowBytes()) {
      throw mismatch(count + " rows at " + chunk.getFirstRow() + " came after " + next + " rows");
    }
    if (Hashing.xxh3_64().hashBytesToLong(rows) != chunk.getXxh3()) {
      throw mismatch("the checksum of the rows at " + next + " does not fit");
    }
    next += count;
    data.writeBytes(rows);
  }

  /** All rows, once the stream has ended. */
  Rows rows() {
    if (header == null || summary == null) {
      throw mismatch("the stream ended without a header or a summary");
    }
    byte[] rows = data.toByteArray();
    boolean whole = next == header.getRows() && next == summary.getRows();
    if (!whole || rows.length != summary.getRowBytes()) {
      throw mismatch(next + " rows came, " + header.getRows() + " were announced");
    }
    if (!Upload.id(Upload.sha256().digest(rows)).equals(summary.getRowsDigest())) {
      throw mismatch("the digest of the rows does not fit");
    }
    return new Rows(
        ByteBuffer.wrap(rows),
        next,
        layout,
        Convert.grid(header.getCount().getGrid()),
        Convert.value(RowSource.class, header.getSource(), RowSource.NONE),
        header.getEncoder(),
        header.getFingerprint(),
        summary.getRowsDigest(),
        Convert.timings(summary.getTimings()),
        kept);
  }

  private static FoveaException mismatch(String what) {
    return new FoveaException(Status.Code.DATA_LOSS, Reason.ROWS_MISMATCH, what);
  }
}
