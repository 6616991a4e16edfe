package dev.fovea.client;

/** Why a call failed: the reasons of the contract, {@code fovea/vision/v1/errors.proto}. */
public enum Reason {
  INTERNAL,
  INVALID_ARGUMENT,
  NOT_SERVED,
  IMAGE_NOT_STORED,
  IMAGE_EMPTY,
  IMAGE_CORRUPT,
  IMAGE_FORMAT_NOT_SUPPORTED,
  IMAGE_TOO_LARGE,
  IMAGE_TOO_MANY_PIXELS,
  IMAGE_SIDE_TOO_LONG,
  IMAGE_ASPECT_TOO_EXTREME,
  IMAGE_TOO_MANY_SCANS,
  DIGEST_MISMATCH,
  CONTEXT_TOO_LONG,
  VISUAL_BUDGET_EXCEEDED,
  FORMAT_TOO_COSTLY,
  MAX_NEW_TOKENS_TOO_LARGE,
  TOO_MANY_IMAGES,
  ENCODER_BUSY,
  ENGINE_BUSY,
  ENCODER_UNAVAILABLE,
  ENCODER_MISMATCH,
  ROWS_MISMATCH,
  CHECKPOINT_NOT_SUPPORTED,
  NOT_READY,
  ENGINE_FAILED,
  DEADLINE_EXCEEDED,
  ABORTED,
  MESSAGES_INVALID,
  STORE_IN_USE,
  IMAGES_MISMATCH,
  ENGINE_UNAVAILABLE,
  STORE_FULL,
  STORE_FAILED,
  STORE_CLOSED,
  STORE_FORKED,
  UNAVAILABLE,
  MESSAGE_TOO_LARGE,
  ANSWER_INCOMPLETE,
  FILE_NOT_READABLE,
  SERVICE_DIED,
  ARENA_FULL,
  /** A status without our details, or a reason that is younger than this client. */
  UNKNOWN;

  static Reason of(String name) {
    for (Reason reason : values()) {
      if (reason.name().equals(name)) {
        return reason;
      }
    }
    return UNKNOWN;
  }
}
