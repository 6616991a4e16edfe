package dev.fovea.client;

import com.google.protobuf.ByteString;
import io.grpc.MethodDescriptor;
import java.util.Optional;
import java.util.function.Function;

/**
 * Uploads of a service. A stored image is not sent again: for all but the smallest files, the
 * client asks first. `Q` and `A` are the service's messages of an upload.
 */
record Shelf<Q, A>(
    Link link,
    MethodDescriptor<Q, A> put,
    Function<Upload, Q> header,
    Function<ByteString, Q> piece,
    Function<A, Stored> stored,
    Function<String, Stored> describe) {

  /**
   * Up to this size, sending costs no more than asking: it fits the first window of a connection.
   */
  private static final long UNASKED_BYTES = 64 << 10;

  /** An image that is known only by its id must be stored already. */
  Stored put(Image image, Progress progress) {
    if (image instanceof Image.Id id) {
      return describe.apply(id.digest());
    }
    return put(upload(image), progress);
  }

  static Upload upload(Image image) {
    if (image instanceof Image.File file) {
      return Upload.of(file.path());
    }
    return Upload.of(((Image.Bytes) image).data());
  }

  Stored put(Upload upload, Progress progress) {
    Optional<Stored> held = upload.size() > UNASKED_BYTES ? find(upload) : Optional.empty();
    return held.orElseGet(() -> send(upload, progress));
  }

  private Optional<Stored> find(Upload upload) {
    try {
      return Optional.of(describe.apply(upload.digest()));
    } catch (FoveaException failure) {
      if (failure.reason() != Reason.IMAGE_NOT_STORED) {
        throw failure;
      }
      return Optional.empty();
    }
  }

  private Stored send(Upload upload, Progress progress) {
    try (Call<Q, A> call = link.open(put, upload.digest())) {
      return stored.apply(upload.send(call, header.apply(upload), piece, progress));
    } catch (FoveaException failure) {
      throw failure.about(upload.file());
    }
  }
}
