package fovea

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// domain is the domain of Fovea's ErrorInfo.
const domain = "fovea.dev"

// plain is the reason of a status without Fovea's details, by code.
var plain = map[codes.Code]Reason{
	codes.Unavailable:       ReasonUnavailable,
	codes.DeadlineExceeded:  ReasonDeadlineExceeded,
	codes.Canceled:          ReasonAborted,
	codes.ResourceExhausted: ReasonMessageTooLarge,
	codes.Unimplemented:     ReasonNotServed,
}

// An Error is a failed call. Get it with errors.As, or only its reason with [ReasonOf].
//
// errors.Is reports context.DeadlineExceeded and context.Canceled for an Error of that code.
type Error struct {
	// Code is the canonical code of gRPC.
	Code codes.Code
	// Reason is the machine-readable reason.
	Reason Reason
	// Message is the text for people. Metadata repeats its values.
	Message string
	// Metadata holds the values of the failure, usually `limit` and `actual`.
	Metadata map[string]string
	// Violations are the invalid fields.
	Violations []Violation
	// RetryAfter is the service's retry delay. 0 if it gives none.
	RetryAfter time.Duration
	// RequestID identifies the call in the service's log. Empty if no service responded.
	RequestID string
	// Image is the path of the [File] that failed, if any. Message names it too.
	Image string

	cause error
}

// A Violation is an invalid field of a request.
type Violation struct {
	// Field is its path in the request, for instance `sampling.top_p`.
	Field string
	// Description says why it is invalid.
	Description string
}

// Error returns message and reason.
func (e *Error) Error() string { return fmt.Sprintf("fovea: %s (%s)", e.Message, e.Reason) }

// Unwrap returns the error of gRPC, so that its package status can read an Error.
func (e *Error) Unwrap() error { return e.cause }

// Is matches a passed deadline and a cancelled call with the errors of package context.
func (e *Error) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded ||
		target == context.Canceled && e.Code == codes.Canceled
}

// ReasonOf returns the reason of an [*Error] in err's chain, or "".
func ReasonOf(err error) Reason {
	if failed, ok := errors.AsType[*Error](err); ok {
		return failed.Reason
	}
	return ""
}

// errorOf converts the error of a gRPC call. An [*Error] and nil are returned unchanged.
func errorOf(err error) error {
	if err == nil || ReasonOf(err) != "" {
		return err
	}
	found := status.Convert(err)
	if carrier, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok { // gRPC wraps the status of a call that it retried, and Convert mixes its words into the message
		found = carrier.GRPCStatus()
	}
	failed := &Error{Code: found.Code(), Reason: plain[found.Code()], Message: found.Message(), cause: err}
	if failed.Reason == "" {
		failed.Reason = ReasonUnknown
	}
	for _, detail := range found.Details() {
		failed.read(detail)
	}
	return failed
}

func (e *Error) read(detail any) {
	switch d := detail.(type) {
	case *errdetails.ErrorInfo:
		if d.Domain == domain {
			e.Reason, e.Metadata = Reason(d.Reason), d.Metadata
		}
	case *errdetails.BadRequest:
		for _, v := range d.FieldViolations {
			e.Violations = append(e.Violations, Violation{v.Field, v.Description})
		}
	case *errdetails.RetryInfo:
		e.RetryAfter = d.RetryDelay.AsDuration()
	case *errdetails.RequestInfo:
		e.RequestID = d.RequestId
	}
}

// aboutImage adds the name of the file that was refused. Other failures are returned unchanged.
func aboutImage(err error, file string) error {
	failed, ok := errors.AsType[*Error](err)
	if !ok || file == "" || failed.Code != codes.InvalidArgument && failed.Code != codes.NotFound {
		return err
	}
	failed.Image, failed.Message = file, file+": "+failed.Message
	return err
}

// refused is a failure that the client detects.
func refused(code codes.Code, reason Reason, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{Code: code, Reason: reason, Message: message, cause: status.Error(code, message)}
}

// invalid is a field that every service would refuse.
func invalid(field, what string) *Error {
	failed := refused(codes.InvalidArgument, ReasonInvalidArgument, "%s %s", field, what)
	failed.Violations = []Violation{{field, what}}
	return failed
}
