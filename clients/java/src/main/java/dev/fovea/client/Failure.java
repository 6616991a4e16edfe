package dev.fovea.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import dev.fovea.client.FoveaException.Violation;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.ProtoUtils;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Converts a status and its details to an exception. Independent of calls. */
final class Failure {
  private static final String DOMAIN = "fovea.dev";
  private static final Metadata.Key<com.google.rpc.Status> DETAILS =
      Metadata.Key.of(
          "grpc-status-details-bin",
          ProtoUtils.metadataMarshaller(com.google.rpc.Status.getDefaultInstance()));

  private String reason;
  private Map<String, String> metadata = Map.of();
  private final List<Violation> violations = new ArrayList<>();
  private Duration retryAfter;
  private String requestId = "";

  private Failure(Status status) {
    reason = plain(status.getCode()).name();
  }

  /** The failure that ended a call to `address`. */
  static FoveaException of(Status status, Metadata trailers, String address) {
    Failure failure = new Failure(status);
    com.google.rpc.Status details = trailers.get(DETAILS);
    if (details != null) {
      details.getDetailsList().forEach(failure::read);
    } else if (status.getCode() == Status.Code.UNAVAILABLE) {
      return failure.unreachable(status, address);
    }
    return failure.exception(status, text(status));
  }

  /** The reason of a status without Fovea's details. */
  private static Reason plain(Status.Code code) {
    return switch (code) {
      case UNAVAILABLE -> Reason.UNAVAILABLE;
      case DEADLINE_EXCEEDED -> Reason.DEADLINE_EXCEEDED;
      case CANCELLED -> Reason.ABORTED;
      case RESOURCE_EXHAUSTED -> Reason.MESSAGE_TOO_LARGE;
      case UNIMPLEMENTED -> Reason.NOT_SERVED;
      default -> Reason.UNKNOWN;
    };
  }

  private static String text(Status status) {
    return status.getDescription() == null ? status.getCode().name() : status.getDescription();
  }

  private FoveaException unreachable(Status status, String address) {
    metadata = Map.of("address", address);
    return exception(status, "no service can be reached at " + address);
  }

  private void read(Any detail) {
    try {
      if (detail.is(ErrorInfo.class)) {
        read(detail.unpack(ErrorInfo.class));
      } else if (detail.is(BadRequest.class)) {
        for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
          violations.add(new Violation(violation.getField(), violation.getDescription()));
        }
      } else if (detail.is(RetryInfo.class)) {
        var delay = detail.unpack(RetryInfo.class).getRetryDelay();
        retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
      } else if (detail.is(RequestInfo.class)) {
        requestId = detail.unpack(RequestInfo.class).getRequestId();
      }
    } catch (InvalidProtocolBufferException unreadable) {
      // The code and the text still say what happened; a detail that cannot be read adds nothing.
    }
  }

  private void read(ErrorInfo info) {
    if (info.getDomain().equals(DOMAIN)) {
      reason = info.getReason();
      metadata = info.getMetadataMap();
    }
  }

  private FoveaException exception(Status status, String message) {
    return new FoveaException(
        status.getCode(),
        reason,
        message,
        metadata,
        violations,
        retryAfter,
        requestId,
        status.getCause());
  }
}
