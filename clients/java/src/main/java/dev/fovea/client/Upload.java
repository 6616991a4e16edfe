package dev.fovea.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.function.Function;

/**
 * A file on its way to a service: its id, its length, its pieces. It is read twice instead of held
 * in memory. If it changes in between, the service refuses it, because its bytes no longer match
 * the announced id. {@code file} is its path; empty for bytes in memory.
 */
record Upload(Source source, String digest, long size, String file) {
  private static final int PIECE_BYTES = 1 << 20;
  private static final long MOST_BYTES = 0xFFFF_FFFFL;

  /** Opens the bytes anew each time. */
  interface Source {
    InputStream open() throws IOException;
  }

  static Upload of(Path file) {
    return of(() -> Files.newInputStream(file), file.toString());
  }

  static Upload of(byte[] data) {
    return of(() -> new ByteArrayInputStream(data), "");
  }

  private static Upload of(Source source, String file) {
    MessageDigest sha256 = sha256();
    long size = 0;
    try (InputStream bytes = source.open()) {
      for (byte[] piece; (piece = bytes.readNBytes(PIECE_BYTES)).length > 0; ) {
        sha256.update(piece);
        size += piece.length;
      }
    } catch (IOException unreadable) {
      throw new UncheckedIOException(unreadable);
    }
    return new Upload(source, id(sha256.digest()), size, file);
  }

  /** The public id of bytes with this SHA-256. */
  static String id(byte[] hash) {
    return "sha256:" + HexFormat.of().formatHex(hash);
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException never) {
      throw new AssertionError("every Java has SHA-256", never);
    }
  }

  /** The length as the header encodes it. Every service refuses far smaller files. */
  int announcedSize() {
    return (int) Math.min(size, MOST_BYTES);
  }

  /** Sends header and pieces, for as long as the server wants them. Returns its response. */
  <Q, A> A send(Call<Q, A> call, Q header, Function<ByteString, Q> message, Progress progress) {
    boolean wanted = call.send(header);
    long sent = 0;
    try (InputStream bytes = source.open()) {
      byte[] piece;
      while (wanted && (piece = bytes.readNBytes(PIECE_BYTES)).length > 0) {
        wanted = call.send(message.apply(UnsafeByteOperations.unsafeWrap(piece)));
        if (wanted) {
          sent += piece.length;
          progress.sent(sent, size);
        }
      }
    } catch (IOException unreadable) {
      throw new UncheckedIOException(unreadable);
    }
    call.end();
    return call.only();
  }
}
