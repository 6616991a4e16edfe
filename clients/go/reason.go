package fovea

// A Reason says why a call failed, for machines. The values are those of fovea.vision.v1.ErrorReason; a later
// service may send others.
type Reason string

// The reasons, with the code that each comes with.
const (
	// ReasonInternal is INTERNAL: a defect of the service. The request id finds the line in its log.
	ReasonInternal Reason = "INTERNAL"
	// ReasonInvalidArgument is INVALID_ARGUMENT: a field is wrong; the violations say which.
	ReasonInvalidArgument Reason = "INVALID_ARGUMENT"
	// ReasonNotServed is UNIMPLEMENTED: the service does not act on a field, or has no such method.
	ReasonNotServed Reason = "NOT_SERVED"
	// ReasonImageNotStored is NOT_FOUND: no image with this id is stored, or no longer.
	ReasonImageNotStored Reason = "IMAGE_NOT_STORED"
	// ReasonImageEmpty is INVALID_ARGUMENT: an image of no bytes.
	ReasonImageEmpty Reason = "IMAGE_EMPTY"
	// ReasonImageCorrupt is INVALID_ARGUMENT: the bytes cannot be decoded: damaged, or cut off.
	ReasonImageCorrupt Reason = "IMAGE_CORRUPT"
	// ReasonImageFormatNotSupported is INVALID_ARGUMENT: not a JPEG, PNG, WebP or GIF.
	ReasonImageFormatNotSupported Reason = "IMAGE_FORMAT_NOT_SUPPORTED"
	// ReasonImageTooLarge is INVALID_ARGUMENT: more bytes than an image may have.
	ReasonImageTooLarge Reason = "IMAGE_TOO_LARGE"
	// ReasonImageTooManyPixels is INVALID_ARGUMENT: more pixels than an image may have. [Fit] helps.
	ReasonImageTooManyPixels Reason = "IMAGE_TOO_MANY_PIXELS"
	// ReasonImageSideTooLong is INVALID_ARGUMENT: a side is longer than allowed. [Fit] helps.
	ReasonImageSideTooLong Reason = "IMAGE_SIDE_TOO_LONG"
	// ReasonImageAspectTooExtreme is INVALID_ARGUMENT: one side is more than 200 times the other.
	ReasonImageAspectTooExtreme Reason = "IMAGE_ASPECT_TOO_EXTREME"
	// ReasonImageTooManyScans is INVALID_ARGUMENT: a JPEG with more scans than allowed.
	ReasonImageTooManyScans Reason = "IMAGE_TOO_MANY_SCANS"
	// ReasonDigestMismatch is INVALID_ARGUMENT: the bytes are not those announced; a file changed while it was sent.
	ReasonDigestMismatch Reason = "DIGEST_MISMATCH"
	// ReasonContextTooLong is INVALID_ARGUMENT: prompt and answer do not fit; Metadata["max_pixels_that_fits"] would.
	ReasonContextTooLong Reason = "CONTEXT_TOO_LONG"
	// ReasonVisualBudgetExceeded is INVALID_ARGUMENT: the images cost more than the budget; at Metadata["fits"] pixels an
	// image they would not.
	ReasonVisualBudgetExceeded Reason = "VISUAL_BUDGET_EXCEEDED"
	// ReasonFormatTooCostly is INVALID_ARGUMENT: compiling the [Format] takes more than the service spends on one.
	ReasonFormatTooCostly Reason = "FORMAT_TOO_COSTLY"
	// ReasonMaxNewTokensTooLarge is INVALID_ARGUMENT: MaxNewTokens is above the service's cap.
	ReasonMaxNewTokensTooLarge Reason = "MAX_NEW_TOKENS_TOO_LARGE"
	// ReasonTooManyImages is INVALID_ARGUMENT: more images than a request may have.
	ReasonTooManyImages Reason = "TOO_MANY_IMAGES"
	// ReasonEncoderBusy is RESOURCE_EXHAUSTED with a time to come back: the encoder's queue is full.
	ReasonEncoderBusy Reason = "ENCODER_BUSY"
	// ReasonEngineBusy is RESOURCE_EXHAUSTED with a time to come back: the engine's queue is full.
	ReasonEngineBusy Reason = "ENGINE_BUSY"
	// ReasonEncoderUnavailable is UNAVAILABLE with a time to come back: no encoder could be reached.
	ReasonEncoderUnavailable Reason = "ENCODER_UNAVAILABLE"
	// ReasonEncoderMismatch is FAILED_PRECONDITION: the encoder serves another model than is expected.
	ReasonEncoderMismatch Reason = "ENCODER_MISMATCH"
	// ReasonRowsMismatch is DATA_LOSS: the rows received are not the rows announced.
	ReasonRowsMismatch Reason = "ROWS_MISMATCH"
	// ReasonCheckpointNotSupported is FAILED_PRECONDITION: the checkpoint is not one that Fovea serves.
	ReasonCheckpointNotSupported Reason = "CHECKPOINT_NOT_SUPPORTED"
	// ReasonNotReady is UNAVAILABLE with a time to come back: the model is still loading.
	ReasonNotReady Reason = "NOT_READY"
	// ReasonEngineFailed is UNAVAILABLE: the engine has died; the service is going down.
	ReasonEngineFailed Reason = "ENGINE_FAILED"
	// ReasonDeadlineExceeded is DEADLINE_EXCEEDED: the deadline passed before the work was done.
	ReasonDeadlineExceeded Reason = "DEADLINE_EXCEEDED"
	// ReasonAborted is CANCELLED: the request was aborted, mostly by its own caller.
	ReasonAborted Reason = "ABORTED"
	// ReasonMessagesInvalid is INVALID_ARGUMENT: the messages of a request do not make a conversation.
	ReasonMessagesInvalid Reason = "MESSAGES_INVALID"
	// ReasonStoreInUse is FAILED_PRECONDITION: another process holds the store's directory.
	ReasonStoreInUse Reason = "STORE_IN_USE"
	// ReasonImagesMismatch is INVALID_ARGUMENT: the prompt speaks of another number of images than there are.
	ReasonImagesMismatch Reason = "IMAGES_MISMATCH"
	// ReasonEngineUnavailable is UNAVAILABLE: the engine is not running.
	ReasonEngineUnavailable Reason = "ENGINE_UNAVAILABLE"
	// ReasonStoreFull is RESOURCE_EXHAUSTED: the image could not be kept.
	ReasonStoreFull Reason = "STORE_FULL"
	// ReasonStoreFailed is UNAVAILABLE: the encoder's store refuses to be read, counted or cleared.
	ReasonStoreFailed Reason = "STORE_FAILED"
	// ReasonStoreClosed is UNAVAILABLE: the encoder is shutting down and its store is closed.
	ReasonStoreClosed Reason = "STORE_CLOSED"
	// ReasonStoreForked is INTERNAL: a defect of the service.
	ReasonStoreForked Reason = "STORE_FORKED"
	// ReasonUnavailable is UNAVAILABLE: nobody answers at the address, or the connection was lost.
	ReasonUnavailable Reason = "UNAVAILABLE"
	// ReasonMessageTooLarge is RESOURCE_EXHAUSTED: a message is larger than one side receives.
	ReasonMessageTooLarge Reason = "MESSAGE_TOO_LARGE"
	// ReasonUnknown is any code: a status without Fovea's details, from a proxy or from gRPC itself.
	ReasonUnknown Reason = "UNKNOWN"
	// ReasonAnswerIncomplete is INTERNAL: a stream ended well but without its closing message.
	ReasonAnswerIncomplete Reason = "ANSWER_INCOMPLETE"
	// ReasonFileNotReadable is INVALID_ARGUMENT; only the fovea command makes it.
	ReasonFileNotReadable Reason = "FILE_NOT_READABLE"
	// ReasonServiceDied is UNAVAILABLE; only the fovea command makes it.
	ReasonServiceDied Reason = "SERVICE_DIED"
	// ReasonArenaFull is RESOURCE_EXHAUSTED: no room in the encoder's shared memory beside what is leased.
	ReasonArenaFull Reason = "ARENA_FULL"
	// ReasonRowsNotFinite is DATA_LOSS: a visual row holds a value that is not finite; Metadata["row"] is the first.
	ReasonRowsNotFinite Reason = "ROWS_NOT_FINITE"
	// ReasonAnswerNotFinite is INTERNAL: the model computed values that are not finite for this request.
	ReasonAnswerNotFinite Reason = "ANSWER_NOT_FINITE"
	// ReasonEngineOutOfMemory is RESOURCE_EXHAUSTED: a step of this request alone needs more memory than there is.
	ReasonEngineOutOfMemory Reason = "ENGINE_OUT_OF_MEMORY"
	// ReasonCallIdle is ABORTED: the caller did not send, or did not read, a message for the server's idle_s.
	ReasonCallIdle Reason = "CALL_IDLE"
	// ReasonTokenMissing is UNAUTHENTICATED: the server requires a bearer token; see [WithToken].
	ReasonTokenMissing Reason = "TOKEN_MISSING"
	// ReasonTokenUnknown is UNAUTHENTICATED: the server does not know the token, or no longer.
	ReasonTokenUnknown Reason = "TOKEN_UNKNOWN"
	// ReasonRoleNotAllowed is PERMISSION_DENIED: the token's role may not make this call.
	ReasonRoleNotAllowed Reason = "ROLE_NOT_ALLOWED"
	// ReasonTenantNotAllowed is PERMISSION_DENIED: the call names another tenant than its token's.
	ReasonTenantNotAllowed Reason = "TENANT_NOT_ALLOWED"
)
