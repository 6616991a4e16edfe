package fovea

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	encoderv1 "fovea.dev/go/fovea/encoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

func TestARequestOfFiveMegabytesIsTriedAgainWhole(t *testing.T) {
	conn, err := grpc.NewClient(house(t).decoder.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file := pngOf(noise(1400, 1270, 51))
	if len(file) < 5<<20 {
		t.Fatalf("%d bytes", len(file))
	}
	attempts := 0
	front := &double{complete: func(ctx context.Context, r *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
		if !bytes.Equal(r.Request.Messages[0].Parts[0].GetImage().GetData(), file) {
			t.Error("the image did not arrive whole")
		}
		if attempts++; attempts == 1 {
			return nil, status.Error(codes.Unavailable, "restarting")
		}
		return decoderv1.NewDecoderServiceClient(conn).Complete(ctx, r)
	}}
	request := Question("What is this picture?", Inline(file))
	request.MaxPixels = 65_536
	answer, err := dialDouble(t, front.start(t), WithTimeout(patience)).Ask(context.Background(), request)
	if err != nil || attempts != 2 || answer.Receipt.Images[0].ID != ID(file) {
		t.Errorf("%+v, %v, %d attempts", answer, err, attempts)
	}
}

func TestACallThatADrainingServerDropsIsTriedAgain(t *testing.T) {
	attempts := 0
	front := &double{complete: func(context.Context, *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
		if attempts++; attempts == 1 {
			return nil, status.Error(codes.Canceled, "")
		}
		return &decoderv1.CompleteResponse{Text: "all well"}, nil
	}}
	answer, err := dialDouble(t, front.start(t), WithTimeout(patience)).Ask(context.Background(), Question("?"))
	if err != nil || attempts != 2 || answer.Text != "all well" {
		t.Errorf("%+v, %v, %d attempts", answer, err, attempts)
	}
}

func TestAnUploadOfThirtyMegabytesIsTriedAgainWhole(t *testing.T) {
	file := bytes.Repeat([]byte("thirty megabytes"), 30<<16)
	attempts := 0
	front := &double{put: func(s grpc.ClientStreamingServer[decoderv1.PutImageRequest, decoderv1.PutImageResponse]) error {
		attempts++
		var got []byte
		for {
			message, err := s.Recv()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			if got = append(got, message.Data...); attempts == 1 && len(got) > 20<<20 {
				return status.Error(codes.Unavailable, "restarting")
			}
		}
		if !bytes.Equal(got, file) {
			t.Errorf("%d bytes arrived", len(got))
		}
		return s.SendAndClose(&decoderv1.PutImageResponse{Facts: &visionv1.ImageFacts{Digest: ID(got)}})
	}}
	stored, err := dialDouble(t, front.start(t), WithTimeout(patience)).Put(context.Background(), Bytes(file))
	if err != nil || stored.Facts.ID != ID(file) || attempts != 2 {
		t.Errorf("%+v, %v, %d attempts", stored, err, attempts)
	}
}

func TestTryingAgainHasBounds(t *testing.T) {
	for name, c := range map[string]struct {
		code     codes.Code
		reason   Reason
		pushback string
		attempts int32
	}{
		"as long as the service asks for it": {codes.Unavailable, ReasonNotReady, "1", 4},
		"not where it asks for none":         {codes.Unavailable, ReasonEngineFailed, "-1", 1},
		"not where it is busy":               {codes.ResourceExhausted, ReasonEngineBusy, "1", 1},
		"not where the request is wrong":     {codes.InvalidArgument, ReasonMessagesInvalid, "1", 1},
	} {
		var attempts atomic.Int32
		refuse := func(ctx context.Context) error {
			attempts.Add(1)
			grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", c.pushback))
			return refusal(c.code, c.reason, 1500*time.Millisecond)
		}
		front := &double{
			complete: func(ctx context.Context, _ *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
				return nil, refuse(ctx)
			},
			generate: func(s grpc.ServerStreamingServer[decoderv1.GenerateResponse]) error { return refuse(s.Context()) },
		}
		client := dialDouble(t, front.start(t))
		_, whole := client.Ask(context.Background(), Question("?"))
		wholeAttempts := attempts.Swap(0)
		streamed := drain(client, Question("?"))
		for _, err := range []error{whole, streamed} {
			failed := failure(t, err, c.reason)
			if failed.Code != c.code || failed.RetryAfter != 1500*time.Millisecond || failed.Message != "not now" {
				t.Errorf("%s: %+v", name, failed)
			}
		}
		if wholeAttempts != c.attempts || attempts.Load() != c.attempts {
			t.Errorf("%s: %d and %d attempts", name, wholeAttempts, attempts.Load())
		}
	}
}

func TestTheReceiveLimitIsNotRaised(t *testing.T) {
	text := strings.Repeat("x", 4<<20)
	front := &double{
		complete: func(context.Context, *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
			return &decoderv1.CompleteResponse{Text: text}, nil
		},
		generate: func(s grpc.ServerStreamingServer[decoderv1.GenerateResponse]) error {
			return s.Send(delta(text))
		},
	}
	client := dialDouble(t, front.start(t))
	_, whole := client.Ask(context.Background(), Question("?"))
	for _, err := range []error{whole, drain(client, Question("?"))} {
		failure(t, err, ReasonMessageTooLarge)
	}
}

func delta(text string) *decoderv1.GenerateResponse {
	return &decoderv1.GenerateResponse{Event: &decoderv1.GenerateResponse_Delta{Delta: &decoderv1.Delta{Text: text}}}
}

func TestAStreamThatEndsTooEarlyIsAnError(t *testing.T) {
	finished := &decoderv1.GenerateResponse{Event: &decoderv1.GenerateResponse_Finished{Finished: &decoderv1.Finished{}}}
	lost := refusal(codes.Unavailable, ReasonEngineFailed, 0)
	for name, c := range map[string]struct {
		sends  []*decoderv1.GenerateResponse
		ends   error
		events int
		reason Reason
	}{
		"nothing":                    {nil, nil, 0, ReasonAnswerIncomplete},
		"no closing message":         {[]*decoderv1.GenerateResponse{delta("a"), delta("b")}, nil, 2, ReasonAnswerIncomplete},
		"a failure on the way":       {[]*decoderv1.GenerateResponse{delta("a")}, lost, 1, ReasonEngineFailed},
		"a failure after the end":    {[]*decoderv1.GenerateResponse{delta("a"), finished}, lost, 1, ReasonEngineFailed},
		"a message of later times":   {[]*decoderv1.GenerateResponse{{}, delta("a"), finished, {}}, nil, 2, ""},
		"nothing between its bounds": {[]*decoderv1.GenerateResponse{finished}, nil, 1, ""},
	} {
		attempts := 0
		front := &double{generate: func(s grpc.ServerStreamingServer[decoderv1.GenerateResponse]) error {
			attempts++
			for _, message := range c.sends {
				if err := s.Send(message); err != nil {
					return err
				}
			}
			return c.ends
		}}
		events := 0
		var last error
		for event, err := range dialDouble(t, front.start(t)).Stream(context.Background(), Question("?")) {
			if last = err; event != nil {
				events++
			}
		}
		if events != c.events || ReasonOf(last) != c.reason || attempts != 1 {
			t.Errorf("%s: %d events, %v, %d attempts", name, events, last, attempts)
		}
	}
}

func TestATokenGoesAlongInTheClearAndUnderTLS(t *testing.T) {
	certificate, roots := certificateOf(t)
	for name, c := range map[string]struct {
		server grpc.ServerOption
		client Option
	}{
		"in the clear": {grpc.Creds(insecure.NewCredentials()), func(*dialing) {}},
		"under TLS":    {grpc.Creds(credentials.NewServerTLSFromCert(&certificate)), WithTLS(&tls.Config{RootCAs: roots})},
	} {
		front := &double{complete: func(ctx context.Context, _ *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
			sent, _ := metadata.FromIncomingContext(ctx)
			return &decoderv1.CompleteResponse{Text: strings.Join(sent["authorization"], ",")}, nil
		}}
		address := front.start(t, c.server)
		answer, err := dialDouble(t, address, c.client, WithToken("secret")).Ask(context.Background(), Question("?"))
		if err != nil || answer.Text != "Bearer secret" {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
		answer, err = dialDouble(t, address, c.client).Ask(context.Background(), Question("?"))
		if err != nil || answer.Text != "" {
			t.Errorf("%s, without a token: %+v, %v", name, answer, err)
		}
	}
}

func TestATokenIsSentToAnotherMachineOnlyUnderTLS(t *testing.T) {
	ctx := context.Background()
	for _, address := range []string{"203.0.113.1:1", "dns:///decoder.invalid:1", "decoder.invalid", "dns://127.0.0.1/decoder.invalid:1"} {
		client := Dial(address, WithToken("secret"))
		_, err := client.Info(ctx)
		var failed *Error
		if !errors.As(err, &failed) || failed.Reason != ReasonInvalidArgument || failed.Violations[0].Field != "token" {
			t.Errorf("%s: %v", address, err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the token is in %v", err)
		}
		client.Close()
	}
	encrypted := WithDialOptions(grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{})))
	for name, options := range map[string][]Option{
		"TLS":               {WithToken("secret"), WithTLS(nil)},
		"TLS of the caller": {WithToken("secret"), encrypted},
		"in plaintext":      {WithPlaintextToken("secret")},
		"no token":          {WithToken("")},
	} {
		client := Dial("203.0.113.1:1", options...)
		if _, failed := client.link.channel.(broken); failed {
			t.Errorf("%s: refused", name)
		}
		client.Close()
	}
	if _, err := Dial("127.0.0.1:1", WithToken("two\nlines")).Info(ctx); ReasonOf(err) != ReasonInvalidArgument {
		t.Errorf("a token with a line break: %v", err)
	}
	for _, local := range []string{"localhost:1", "127.0.0.2:1", "[::1]:1", "dns:///127.0.0.1:1", "unix:///tmp/socket"} {
		if !isLoopback(local) {
			t.Errorf("%s is on this machine", local)
		}
	}
}

// certificateOf is a certificate of 127.0.0.1 and the roots that trust it.
func certificateOf(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fovea"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	raw := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(raw)))
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, roots
}

func TestCallsAreSpreadOverAllAddressesOfAName(t *testing.T) {
	var addresses []resolver.Address
	var heard [2]atomic.Int32
	for i := range heard {
		front := &double{complete: func(context.Context, *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
			heard[i].Add(1)
			return &decoderv1.CompleteResponse{}, nil
		}}
		addresses = append(addresses, resolver.Address{Addr: front.start(t)})
	}
	names := manual.NewBuilderWithScheme("two")
	names.InitialState(resolver.State{Addresses: addresses})
	client := dialDouble(t, "two:///decoders", WithDialOptions(grpc.WithResolvers(names)))
	for calls := 0; calls < 500 && (heard[0].Load() == 0 || heard[1].Load() == 0); calls++ { // the second may connect late
		if _, err := client.Ask(context.Background(), Question(fmt.Sprint(calls))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if heard[0].Load() == 0 || heard[1].Load() == 0 {
		t.Error("one of two decoders was never asked")
	}
}

// A replayer is an encoder that sends the streams of the vectors.
type replayer struct {
	encoderv1.UnimplementedEncoderServiceServer
	stream []*encoderv1.EncodeResponse
}

func (r *replayer) Encode(_ *encoderv1.EncodeRequest, s grpc.ServerStreamingServer[encoderv1.EncodeResponse]) error {
	for _, message := range r.stream {
		if err := s.Send(message); err != nil {
			return err
		}
	}
	return nil
}

func TestRowsThatAreNotWhatWasAnnouncedAreRefused(t *testing.T) {
	var v rowVectors
	readVectors(t, "rows.json", &v)
	encoder := &replayer{}
	server := grpc.NewServer()
	encoderv1.RegisterEncoderServiceServer(server, encoder)
	client := DialEncoder(listen(t, server))
	defer client.Close()
	encoder.stream = encodeMessages(t, v.Stream)
	rows, err := client.Encode(context.Background(), ID(nil), EncodePlan{})
	if err != nil || !bytes.Equal(rows.Data, v.Data) {
		t.Errorf("%v", err)
	}
	for _, bad := range v.Refused {
		encoder.stream = encodeMessages(t, bad.Stream)
		_, err := client.Encode(context.Background(), ID(nil), EncodePlan{})
		if failed := failure(t, err, ReasonRowsMismatch); failed.Code != codes.DataLoss {
			t.Errorf("%s: %+v", bad.Why, failed)
		}
	}
}
