package fovea

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// sent counts what a client sends, by method; gRPC calls it.
type sent struct {
	mutex sync.Mutex
	bytes map[string]int
	calls map[string]int
}

type methodKey struct{}

func counting() (*sent, Option) {
	s := &sent{bytes: map[string]int{}, calls: map[string]int{}}
	return s, WithDialOptions(grpc.WithStatsHandler(s))
}

func (s *sent) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName[strings.LastIndex(info.FullMethodName, "/")+1:])
}

func (s *sent) HandleRPC(ctx context.Context, event stats.RPCStats) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	method := ctx.Value(methodKey{}).(string)
	switch e := event.(type) {
	case *stats.Begin:
		s.calls[method]++
	case *stats.OutPayload:
		s.bytes[method] += e.Length
	}
}

func (s *sent) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (s *sent) HandleConn(context.Context, stats.ConnStats)                       {}

// bytesOf is what was sent by a method since the last ask.
func (s *sent) bytesOf(method string) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	n := s.bytes[method]
	s.bytes[method] = 0
	return n
}

func TestAKnownImageIsNeverUploadedAgain(t *testing.T) {
	wire, option := counting()
	client := dialHouse(t, option)
	ctx := context.Background()
	file := pngOf(noise(64, 64, 11))
	forget(t, file)
	heard := int64(0)
	stored, err := client.Put(ctx, Bytes(file), WithProgress(func(sent, total int64) {
		if heard = sent; total != int64(len(file)) {
			t.Errorf("%d bytes in all", total)
		}
	}))
	if err != nil || stored.AlreadyStored || heard != int64(len(file)) || wire.bytesOf("PutImage") < len(file) {
		t.Fatalf("%+v, %v, %d bytes heard", stored, err, heard)
	}
	again, err := client.Put(ctx, Bytes(file), WithProgress(func(int64, int64) { t.Error("bytes were sent again") }))
	if err != nil || !again.AlreadyStored || again.Facts != stored.Facts {
		t.Errorf("%+v, %v", again, err)
	}
	if n := wire.bytesOf("PutImage"); n == 0 || n > 200 {
		t.Errorf("naming it, which renews it, sent %d bytes", n)
	}
	if _, err := client.Ask(ctx, Question("?", Bytes(file), Image(stored.Facts.ID))); err != nil {
		t.Error(err)
	}
	if n := wire.bytesOf("PutImage") + wire.bytesOf("Complete"); n > 400 {
		t.Errorf("asking about a known image sent %d bytes", n)
	}
	if known, err := client.Put(ctx, Image(stored.Facts.ID)); err != nil || known.Facts != stored.Facts {
		t.Errorf("%+v, %v", known, err)
	}
	want := stored.Facts // with its measures, which are the service's to say
	want.ID, want.Format, want.Bytes, want.Size, want.Orientation = ID(file), "png", len(file), Size{64, 64}, 1
	want.HadAlpha = false
	if stored.Facts != want || stored.Encoder != house(t).encoder.address || stored.Expires.IsZero() {
		t.Errorf("%+v", stored)
	}
}

// An image that is held when asked about and gone when named is uploaded after all.
func TestAnImageThatGoesWhileItIsRenewedIsUploaded(t *testing.T) {
	encoder := dialHouseEncoder(t)
	ctx := context.Background()
	file := pngOf(noise(64, 64, 12))
	if _, err := encoder.Put(ctx, Bytes(file)); err != nil {
		t.Fatal(err)
	}
	once := true
	client := dialHouse(t, WithDialOptions(grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc,
		cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if once {
			once = false
			if _, err := encoder.Delete(ctx, ID(file)); err != nil {
				t.Error(err)
			}
		}
		return open(ctx, desc, cc, method, opts...)
	})))
	stored, err := client.Put(ctx, Bytes(file))
	if err != nil || stored.AlreadyStored || stored.Facts.ID != ID(file) || once {
		t.Errorf("%+v, %v", stored, err)
	}
}

func TestAnInlineImageTravelsInTheRequest(t *testing.T) {
	wire, option := counting()
	client := dialHouse(t, option)
	file, err := os.ReadFile(samples + "/chart.png")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Ask(context.Background(), Question("Which bar is the tallest?", Inline(file)))
	if err != nil || answer.Text != "yellow" || answer.Receipt.Images[0].ID != ID(file) {
		t.Errorf("%+v, %v", answer, err)
	}
	if wire.bytesOf("Complete") < len(file) || wire.calls["PutImage"]+wire.calls["DescribeImage"] != 0 {
		t.Errorf("calls %v", wire.calls)
	}
}

// An image that goes between the upload and the question is uploaded once more; the interceptor takes it away.
func TestAnImageThatWentIsUploadedOnceMore(t *testing.T) {
	encoder := dialHouseEncoder(t)
	ctx := context.Background()
	file := pngOf(noise(64, 64, 13))
	id := ID(file)
	left := 0
	takeAway := func(method string) {
		if left > 0 && (strings.HasSuffix(method, "/Complete") || strings.HasSuffix(method, "/Generate") ||
			strings.HasSuffix(method, "/CountTokens")) {
			left--
			if _, err := encoder.Delete(ctx, id); err != nil {
				t.Error(err)
			}
		}
	}
	wire, option := counting()
	client := dialHouse(t, option, WithDialOptions(
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
			invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			takeAway(method)
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
			open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			takeAway(method)
			return open(ctx, desc, cc, method, opts...)
		}),
	))
	question := Question("?", Bytes(file))
	question.Sampling.MaxNewTokens = 2
	for name, call := range map[string]func() error{
		"Ask":         func() error { _, err := client.Ask(ctx, question); return err },
		"CountTokens": func() error { _, err := client.CountTokens(ctx, question); return err },
		"Stream":      func() error { return drain(client, question) },
	} {
		forget(t, file)
		left = 1
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := wire.bytesOf("PutImage"); n < 2*len(file) || n > 2*len(file)+400 {
			t.Errorf("%s sent %d bytes of an image of %d", name, n, len(file))
		}
		left = 2
		if err := call(); ReasonOf(err) != ReasonImageNotStored {
			t.Errorf("%s of an image that goes again and again: %v", name, err)
		}
		wire.bytesOf("PutImage")
		left = 1
		question.Messages[0].Parts[0] = Image(id) // whose bytes are not here
		if err := call(); ReasonOf(err) != ReasonImageNotStored || wire.bytesOf("PutImage") != 0 {
			t.Errorf("%s of an image known by its id alone: %v", name, err)
		}
		question.Messages[0].Parts[0] = Bytes(file)
	}
}

func TestTwentyMegabytes(t *testing.T) {
	client := dialHouse(t)
	ctx := context.Background()
	file := pngOf(noise(2680, 2610, 14))
	if len(file) < 20<<20 || len(file) > 32<<20 {
		t.Fatalf("%d bytes", len(file))
	}
	forget(t, file)
	path := t.TempDir() + "/large.png"
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	pieces := 0
	stored, err := client.Put(ctx, File(path), WithProgress(func(int64, int64) { pieces++ }))
	if err != nil || stored.Facts.Bytes != len(file) || pieces != (len(file)+pieceBytes-1)/pieceBytes {
		t.Fatalf("%+v, %v, %d pieces", stored, err, pieces)
	}
	request := Question("What is this picture?", File(path))
	request.MaxPixels = 65_536
	answer, err := client.Ask(ctx, request)
	if err != nil || answer.Receipt.Images[0].Original != (Size{2680, 2610}) {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestAFileThatIsNotThere(t *testing.T) {
	client := Dial("127.0.0.1:1")
	defer client.Close()
	ctx := context.Background()
	_, putErr := client.Put(ctx, File("none.png"))
	_, askErr := client.Ask(ctx, Question("?", File("none.png")))
	_, countErr := client.CountTokens(ctx, Question("?", File("none.png")))
	_, namelessErr := client.Put(ctx, File(""))
	streamErr := drain(client, Question("?", File("none.png")))
	for _, err := range []error{putErr, askErr, countErr, streamErr, namelessErr} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
	if _, err := client.Put(ctx, File(".")); err == nil || ReasonOf(err) != "" {
		t.Errorf("a folder gives %v", err)
	}
}
