package fovea

import (
	"context"
	"net"
	"testing"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A double is a decoder whose answers a test writes, for what real services do not do on demand.
type double struct {
	decoderv1.UnimplementedDecoderServiceServer
	complete func(context.Context, *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error)
	generate func(grpc.ServerStreamingServer[decoderv1.GenerateResponse]) error
	count    func(*decoderv1.CountTokensRequest) (*decoderv1.CountTokensResponse, error)
	put      func(grpc.ClientStreamingServer[decoderv1.PutImageRequest, decoderv1.PutImageResponse]) error
	deleted  []string
}

func (d *double) Complete(ctx context.Context, r *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
	return d.complete(ctx, r)
}

func (d *double) CountTokens(_ context.Context, r *decoderv1.CountTokensRequest) (*decoderv1.CountTokensResponse, error) {
	return d.count(r)
}

func (d *double) Generate(_ *decoderv1.GenerateRequest, s grpc.ServerStreamingServer[decoderv1.GenerateResponse]) error {
	return d.generate(s)
}

func (d *double) PutImage(s grpc.ClientStreamingServer[decoderv1.PutImageRequest, decoderv1.PutImageResponse]) error {
	return d.put(s)
}

func (d *double) DescribeImage(context.Context, *decoderv1.DescribeImageRequest) (*decoderv1.DescribeImageResponse, error) {
	return nil, refusal(codes.NotFound, ReasonImageNotStored, 0)
}

// deletions are those of two encoders, of which only the first confirms.
func deletions() []*decoderv1.EncoderDeletion {
	return []*decoderv1.EncoderDeletion{
		{Encoder: "a:1", Confirmed: true, Uploads: 1, Records: 2, Bytes: 4096, Erasure: visionv1.Erasure_ERASURE_AFTER_COMPACTION},
		{Encoder: "b:1", Reason: "ENCODER_UNAVAILABLE"},
	}
}

func (d *double) DeleteImage(_ context.Context, r *decoderv1.DeleteImageRequest) (*decoderv1.DeleteImageResponse, error) {
	d.deleted = append(d.deleted, r.Digest)
	return &decoderv1.DeleteImageResponse{Encoders: deletions()}, nil
}

func (d *double) PurgeTenant(_ context.Context, r *decoderv1.PurgeTenantRequest) (*decoderv1.PurgeTenantResponse, error) {
	d.deleted = append(d.deleted, r.Tenant)
	return &decoderv1.PurgeTenantResponse{Encoders: deletions()}, nil
}

// start serves it until the test ends.
func (d *double) start(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	server := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(32<<20))...)
	decoderv1.RegisterDecoderServiceServer(server, d)
	return listen(t, server)
}

func listen(t *testing.T, server *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func dialDouble(t *testing.T, address string, options ...Option) *Client {
	t.Helper()
	client := Dial(address, options...)
	t.Cleanup(func() { client.Close() })
	return client
}

// refusal is an error as Fovea's services send it.
func refusal(code codes.Code, reason Reason, after time.Duration) error {
	return must(status.New(code, "not now").WithDetails(
		&errdetails.ErrorInfo{Reason: string(reason), Domain: domain},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(after)},
	)).Err()
}
