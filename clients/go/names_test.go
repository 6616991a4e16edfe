package fovea

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// corrupt is how a service refuses the image of this field.
func corrupt(field string) error {
	return must(status.New(codes.InvalidArgument, "the PNG is damaged").WithDetails(
		&errdetails.ErrorInfo{Reason: string(ReasonImageCorrupt), Domain: domain},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field}}},
	)).Err()
}

func TestAnImageThatFailsIsCalledByItsPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.png")
	if err := os.WriteFile(path, []byte("another one"), 0o600); err != nil {
		t.Fatal(err)
	}
	put, answer := error(nil), corrupt("messages[0].parts[1].image")
	client := dialDouble(t, (&double{
		put: func(s grpc.ClientStreamingServer[decoderv1.PutImageRequest, decoderv1.PutImageResponse]) error {
			if put != nil {
				return put
			}
			return s.SendAndClose(&decoderv1.PutImageResponse{})
		},
		complete: func(context.Context, *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
			return nil, answer
		},
		generate: func(grpc.ServerStreamingServer[decoderv1.GenerateResponse]) error { return answer },
	}).start(t))
	check := func(err error) {
		t.Helper()
		failed := failure(t, err, ReasonImageCorrupt)
		if failed.Image != path || !strings.HasPrefix(failed.Message, path+": ") {
			t.Errorf("%q is called %q", failed.Message, failed.Image)
		}
	}
	_, err := client.Ask(t.Context(), Question("?", Bytes([]byte("one")), File(path)))
	check(err)
	put = corrupt("data")
	_, err = client.Ask(t.Context(), Question("?", File(path)))
	check(err)
	_, err = client.Put(t.Context(), File(path))
	check(err)
	put, answer = nil, corrupt("messages[0].parts[0].image")
	_, err = client.Ask(t.Context(), Question("?", Bytes([]byte("one")), File(path)))
	if failed := failure(t, err, ReasonImageCorrupt); failed.Image != "" {
		t.Errorf("bytes are called %q", failed.Image)
	}
}
