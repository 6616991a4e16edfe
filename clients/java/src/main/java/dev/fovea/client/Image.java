package dev.fovea.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** An image: a file, bytes in memory, or the id of a stored image. */
public sealed interface Image extends Part {
  /**
   * A file: JPEG, PNG, WebP or GIF. It is read when it is used, and never held in memory as a
   * whole.
   */
  record File(Path path) implements Image {}

  /** A file in memory. The bytes are not copied: do not change them. */
  record Bytes(byte[] data) implements Image {}

  /** An image that the service holds, by its id {@code sha256:<hex>}. */
  record Id(String digest) implements Image {}

  /** A file by its path. */
  static Image of(Path path) {
    return new File(path);
  }

  /** A file in memory. */
  static Image of(byte[] data) {
    return new Bytes(data);
  }

  /** A stored image by its id. */
  static Image stored(String digest) {
    return new Id(digest);
  }

  /** This image, shrunk to the size that the service would plan: fewer bytes, the same tokens. */
  default Image fit() {
    return fit(Fit.STANDARD);
  }

  /** As {@link #fit()}, for a question with another {@code maxPixels} or for another model. */
  default Image fit(Fit fit) {
    if (this instanceof Bytes bytes) {
      return of(fit.shrink(bytes.data()));
    }
    if (this instanceof File file) {
      try {
        return of(fit.shrink(Files.readAllBytes(file.path())));
      } catch (IOException unreadable) {
        throw new UncheckedIOException(unreadable);
      }
    }
    return this;
  }
}
