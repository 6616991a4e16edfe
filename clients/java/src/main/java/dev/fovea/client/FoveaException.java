package dev.fovea.client;

import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A failed call. The metadata repeats the values in the message. */
public final class FoveaException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** An invalid field of a request. */
  public record Violation(String field, String description) implements Serializable {}

  private final Status.Code code;
  private final String reasonName;
  private final Map<String, String> metadata;
  private final List<Violation> violations;
  private final Duration retryAfter;
  private final String requestId;
  private final String image;

  FoveaException(
      Status.Code code,
      String reasonName,
      String message,
      Map<String, String> metadata,
      List<Violation> violations,
      Duration retryAfter,
      String requestId,
      Throwable cause) {
    super(message, cause);
    this.code = code;
    this.reasonName = reasonName;
    this.metadata = Map.copyOf(metadata);
    this.violations = List.copyOf(violations);
    this.retryAfter = retryAfter;
    this.requestId = requestId;
    this.image = "";
  }

  private FoveaException(FoveaException failure, String image) {
    super(image + ": " + failure.getMessage(), failure);
    this.code = failure.code;
    this.reasonName = failure.reasonName;
    this.metadata = failure.metadata;
    this.violations = failure.violations;
    this.retryAfter = failure.retryAfter;
    this.requestId = failure.requestId;
    this.image = image;
  }

  FoveaException(Status.Code code, Reason reason, String message, Throwable cause) {
    this(code, reason.name(), message, Map.of(), List.of(), null, "", cause);
  }

  FoveaException(Status.Code code, Reason reason, String message) {
    this(code, reason, message, null);
  }

  /** The canonical code. */
  public Status.Code code() {
    return code;
  }

  /** The reason; {@link Reason#UNKNOWN} for a reason that this client does not know. */
  public Reason reason() {
    return Reason.of(reasonName);
  }

  /** The reason as the server wrote it. */
  public String reasonName() {
    return reasonName;
  }

  /** The values of the failure, usually {@code limit} and {@code actual}. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** The invalid fields of the request. */
  public List<Violation> violations() {
    return violations;
  }

  /** The retry delay, if the server gives one. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /** Identifies the call in the server's log. Empty if the server gave none. */
  public String requestId() {
    return requestId;
  }

  /** The path of the file that was refused. Empty if it was no file. */
  public String image() {
    return image;
  }

  /** The same failure with the file that it is about. */
  FoveaException about(String file) {
    boolean callers = code == Status.Code.INVALID_ARGUMENT || code == Status.Code.NOT_FOUND;
    return file.isEmpty() || !callers ? this : new FoveaException(this, file);
  }

  @Override
  public String toString() {
    return getClass().getName() + ": " + code + "/" + reasonName + ": " + getMessage();
  }
}
