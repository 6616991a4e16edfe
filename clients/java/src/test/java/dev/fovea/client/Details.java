package dev.fovea.client;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;

/** Failures as a service writes them. */
final class Details {
  static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  private Details() {}

  static StatusRuntimeException of(Status.Code code, String reason) {
    return StatusProto.toStatusRuntimeException(status(code, reason).build());
  }

  /** An image that is damaged, with the field of the request that holds it. */
  static StatusRuntimeException corrupt(String field) {
    var violation = BadRequest.FieldViolation.newBuilder().setField(field);
    var request = BadRequest.newBuilder().addFieldViolations(violation).build();
    return StatusProto.toStatusRuntimeException(
        status(Status.Code.INVALID_ARGUMENT, "IMAGE_CORRUPT").addDetails(Any.pack(request)).build());
  }

  private static com.google.rpc.Status.Builder status(Status.Code code, String reason) {
    var info = ErrorInfo.newBuilder().setReason(reason).setDomain("fovea.dev");
    return com.google.rpc.Status.newBuilder()
        .setCode(code.value())
        .setMessage("as the test wants it")
        .addDetails(Any.pack(info.build()));
  }

  static StatusRuntimeException unavailable() {
    return Status.UNAVAILABLE.asRuntimeException();
  }

  static StatusRuntimeException unavailable(String pushback) {
    Metadata trailers = new Metadata();
    trailers.put(PUSHBACK, pushback);
    return Status.UNAVAILABLE.asRuntimeException(trailers);
  }
}
