package fovea

// A Reason is the machine-readable reason of a failed call. The values are those of fovea.vision.v1.ErrorReason. A
// later service may send others.
type Reason string

// The reasons, with the code of each.
const (
	// ReasonInternal is INTERNAL: a bug in the service. Search its log for the request id.
	ReasonInternal Reason = "INTERNAL"
	// ReasonInvalidArgument is INVALID_ARGUMENT: a field is invalid. The violations name it.
	ReasonInvalidArgument Reason = "INVALID_ARGUMENT"
	// ReasonNotServed is UNIMPLEMENTED: the service does not support a field, or has no such method.
	ReasonNotServed Reason = "NOT_SERVED"
	// ReasonImageNotStored is NOT_FOUND: no image with this id is stored, or it is gone.
	ReasonImageNotStored Reason = "IMAGE_NOT_STORED"
	// ReasonImageEmpty is INVALID_ARGUMENT: the image has no bytes.
	ReasonImageEmpty Reason = "IMAGE_EMPTY"
	// ReasonImageCorrupt is INVALID_ARGUMENT: the image cannot be decoded, because it is damaged or truncated.
	ReasonImageCorrupt Reason = "IMAGE_CORRUPT"
	// ReasonImageFormatNotSupported is INVALID_ARGUMENT: the image is not a JPEG, PNG, WebP or GIF.
	ReasonImageFormatNotSupported Reason = "IMAGE_FORMAT_NOT_SUPPORTED"
	// ReasonImageTooLarge is INVALID_ARGUMENT: the file has more bytes than allowed.
	ReasonImageTooLarge Reason = "IMAGE_TOO_LARGE"
	// ReasonImageTooManyPixels is INVALID_ARGUMENT: the image has more pixels than allowed. [Fit] helps.
	ReasonImageTooManyPixels Reason = "IMAGE_TOO_MANY_PIXELS"
	// ReasonImageSideTooLong is INVALID_ARGUMENT: a side is longer than allowed. [Fit] helps.
	ReasonImageSideTooLong Reason = "IMAGE_SIDE_TOO_LONG"
	// ReasonImageAspectTooExtreme is INVALID_ARGUMENT: the longer side is more than 200 times the shorter.
	ReasonImageAspectTooExtreme Reason = "IMAGE_ASPECT_TOO_EXTREME"
	// ReasonImageTooManyScans is INVALID_ARGUMENT: the JPEG has more scans than allowed.
	ReasonImageTooManyScans Reason = "IMAGE_TOO_MANY_SCANS"
	// ReasonImageTooCostly is INVALID_ARGUMENT: decoding the image takes more CPU time or memory than allowed.
	ReasonImageTooCostly Reason = "IMAGE_TOO_COSTLY"
	// ReasonImageCrashesDecoder is INVALID_ARGUMENT: decoding the image has crashed two workers of the encoder.
	ReasonImageCrashesDecoder Reason = "IMAGE_CRASHES_DECODER"
	// ReasonDigestMismatch is INVALID_ARGUMENT: the bytes do not match the announced digest. The file changed
	// during the upload.
	ReasonDigestMismatch Reason = "DIGEST_MISMATCH"
	// ReasonContextTooLong is INVALID_ARGUMENT: prompt and answer do not fit the context.
	// Metadata["max_pixels_that_fits"] is the largest MaxPixels that fits.
	ReasonContextTooLong Reason = "CONTEXT_TOO_LONG"
	// ReasonVisualBudgetExceeded is INVALID_ARGUMENT: the images cost more than the budget. Metadata["fits"] is
	// the largest MaxPixels that fits.
	ReasonVisualBudgetExceeded Reason = "VISUAL_BUDGET_EXCEEDED"
	// ReasonFormatTooCostly is INVALID_ARGUMENT: compiling the [Format] takes more time or memory than allowed.
	ReasonFormatTooCostly Reason = "FORMAT_TOO_COSTLY"
	// ReasonMaxNewTokensTooLarge is INVALID_ARGUMENT: MaxNewTokens is above the service's limit.
	ReasonMaxNewTokensTooLarge Reason = "MAX_NEW_TOKENS_TOO_LARGE"
	// ReasonTooManyImages is INVALID_ARGUMENT: the request has more images than allowed.
	ReasonTooManyImages Reason = "TOO_MANY_IMAGES"
	// ReasonEncoderBusy is RESOURCE_EXHAUSTED with a retry delay: the encoder's queue is full.
	ReasonEncoderBusy Reason = "ENCODER_BUSY"
	// ReasonEngineBusy is RESOURCE_EXHAUSTED with a retry delay: the engine's queue is full.
	ReasonEngineBusy Reason = "ENGINE_BUSY"
	// ReasonEncoderUnavailable is UNAVAILABLE with a retry delay: no encoder could be reached.
	ReasonEncoderUnavailable Reason = "ENCODER_UNAVAILABLE"
	// ReasonEncoderMismatch is FAILED_PRECONDITION: the encoder serves a different model than expected.
	ReasonEncoderMismatch Reason = "ENCODER_MISMATCH"
	// ReasonRowsMismatch is DATA_LOSS: the received rows do not match their header.
	ReasonRowsMismatch Reason = "ROWS_MISMATCH"
	// ReasonCheckpointNotSupported is FAILED_PRECONDITION: Fovea does not support the checkpoint.
	ReasonCheckpointNotSupported Reason = "CHECKPOINT_NOT_SUPPORTED"
	// ReasonNotReady is UNAVAILABLE with a retry delay: the model is still loading.
	ReasonNotReady Reason = "NOT_READY"
	// ReasonEngineFailed is UNAVAILABLE: the engine has died, and the service is shutting down.
	ReasonEngineFailed Reason = "ENGINE_FAILED"
	// ReasonDeadlineExceeded is DEADLINE_EXCEEDED: the deadline passed before the work was done.
	ReasonDeadlineExceeded Reason = "DEADLINE_EXCEEDED"
	// ReasonAborted is CANCELLED: the request was aborted, usually by its own caller.
	ReasonAborted Reason = "ABORTED"
	// ReasonMessagesInvalid is INVALID_ARGUMENT: the messages of the request do not form a conversation.
	ReasonMessagesInvalid Reason = "MESSAGES_INVALID"
	// ReasonStoreInUse is FAILED_PRECONDITION: another process has opened the store's directory.
	ReasonStoreInUse Reason = "STORE_IN_USE"
	// ReasonImagesMismatch is INVALID_ARGUMENT: the prompt has placeholders for a different number of images.
	ReasonImagesMismatch Reason = "IMAGES_MISMATCH"
	// ReasonEngineUnavailable is UNAVAILABLE: the engine is not running.
	ReasonEngineUnavailable Reason = "ENGINE_UNAVAILABLE"
	// ReasonStoreFull is RESOURCE_EXHAUSTED: the image could not be stored.
	ReasonStoreFull Reason = "STORE_FULL"
	// ReasonStoreFailed is UNAVAILABLE: reading, counting or clearing the encoder's store failed.
	ReasonStoreFailed Reason = "STORE_FAILED"
	// ReasonStoreClosed is UNAVAILABLE: the encoder is shutting down and its store is closed.
	ReasonStoreClosed Reason = "STORE_CLOSED"
	// ReasonStoreForked is INTERNAL: a bug in the service.
	ReasonStoreForked Reason = "STORE_FORKED"
	// ReasonUnavailable is UNAVAILABLE: the service does not respond, or the connection was lost.
	ReasonUnavailable Reason = "UNAVAILABLE"
	// ReasonMessageTooLarge is RESOURCE_EXHAUSTED: a message is larger than the receiver accepts.
	ReasonMessageTooLarge Reason = "MESSAGE_TOO_LARGE"
	// ReasonUnknown is any code: a status without Fovea's details, from a proxy or from gRPC itself.
	ReasonUnknown Reason = "UNKNOWN"
	// ReasonAnswerIncomplete is INTERNAL: a stream ended with OK but without its last message.
	ReasonAnswerIncomplete Reason = "ANSWER_INCOMPLETE"
	// ReasonFileNotReadable is INVALID_ARGUMENT. Only the fovea command raises it.
	ReasonFileNotReadable Reason = "FILE_NOT_READABLE"
	// ReasonServiceDied is UNAVAILABLE. Only the fovea command raises it.
	ReasonServiceDied Reason = "SERVICE_DIED"
	// ReasonArenaFull is RESOURCE_EXHAUSTED: the encoder's shared memory has no room next to the leased rows.
	ReasonArenaFull Reason = "ARENA_FULL"
	// ReasonRowsNotFinite is DATA_LOSS: a visual row holds a value that is not finite; Metadata["row"] is the first.
	ReasonRowsNotFinite Reason = "ROWS_NOT_FINITE"
	// ReasonAnswerNotFinite is INTERNAL: the model computed values that are not finite for this request.
	ReasonAnswerNotFinite Reason = "ANSWER_NOT_FINITE"
	// ReasonEngineOutOfMemory is RESOURCE_EXHAUSTED: the engine ran out of memory for this request even when it
	// ran alone.
	ReasonEngineOutOfMemory Reason = "ENGINE_OUT_OF_MEMORY"
	// ReasonCallIdle is ABORTED: the service waited longer than idle_s for the caller to send or read a message.
	ReasonCallIdle Reason = "CALL_IDLE"
	// ReasonTokenMissing is UNAUTHENTICATED: the server requires a bearer token; see [WithToken].
	ReasonTokenMissing Reason = "TOKEN_MISSING"
	// ReasonTokenUnknown is UNAUTHENTICATED: the server does not know the token, or no longer.
	ReasonTokenUnknown Reason = "TOKEN_UNKNOWN"
	// ReasonRoleNotAllowed is PERMISSION_DENIED: the token's role may not make this call.
	ReasonRoleNotAllowed Reason = "ROLE_NOT_ALLOWED"
	// ReasonTenantNotAllowed is PERMISSION_DENIED: the call names another tenant than its token's.
	ReasonTenantNotAllowed Reason = "TENANT_NOT_ALLOWED"
	// ReasonServerBusy is RESOURCE_EXHAUSTED: the requests of running calls hold as many bytes as the server allows.
	ReasonServerBusy Reason = "SERVER_BUSY"
	// ReasonTenantBusy is RESOURCE_EXHAUSTED: the running calls of the tenant hold as much as a tenant may.
	ReasonTenantBusy Reason = "TENANT_BUSY"
	// ReasonTooManyStreams is RESOURCE_EXHAUSTED: all streams of health and reflection are taken.
	ReasonTooManyStreams Reason = "TOO_MANY_STREAMS"
	// ReasonLedgerUnavailable is UNAVAILABLE: the database of the ledger does not answer.
	ReasonLedgerUnavailable Reason = "LEDGER_UNAVAILABLE"
	// ReasonLedgerDisabled is FAILED_PRECONDITION: the server keeps no ledger.
	ReasonLedgerDisabled Reason = "LEDGER_DISABLED"
	// ReasonQuotaExceeded is RESOURCE_EXHAUSTED: the tenant may exceed its quota of the day with this request.
	ReasonQuotaExceeded Reason = "QUOTA_EXCEEDED"
	// ReasonQuoteInvalid is INVALID_ARGUMENT: the quote has expired, or is not for this request.
	ReasonQuoteInvalid Reason = "QUOTE_INVALID"
	// ReasonQuoteExceeded is FAILED_PRECONDITION: the request may cost more than its quote says.
	ReasonQuoteExceeded Reason = "QUOTE_EXCEEDED"
	// ReasonTierUnknown is INVALID_ARGUMENT: the request names a tier that the server does not have.
	ReasonTierUnknown Reason = "TIER_UNKNOWN"
	// ReasonTierDidNotAnswer is FAILED_PRECONDITION: a tier passed the request on, and the request allows no further tier.
	ReasonTierDidNotAnswer Reason = "TIER_DID_NOT_ANSWER"
	// ReasonTierUnavailable is UNAVAILABLE with RetryAfter: a tier that is another decoder cannot be reached or has failed.
	ReasonTierUnavailable Reason = "TIER_UNAVAILABLE"
	// ReasonTextReaderMissing is FAILED_PRECONDITION: the encoder has no reader of text.
	ReasonTextReaderMissing Reason = "TEXT_READER_MISSING"
	// ReasonTextNotFound is NOT_FOUND: the image shows no text.
	ReasonTextNotFound Reason = "TEXT_NOT_FOUND"
	// ReasonTextTooCostly is INVALID_ARGUMENT: reading the text of the image takes more than allowed.
	ReasonTextTooCostly Reason = "TEXT_TOO_COSTLY"
	// ReasonTextReaderCrashed is INVALID_ARGUMENT: reading the text of the image has crashed two workers.
	ReasonTextReaderCrashed Reason = "TEXT_READER_CRASHED"
)
