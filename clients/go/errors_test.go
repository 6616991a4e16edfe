package fovea

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failure is the Error that a call must end with.
func failure(t *testing.T, err error, reason Reason) *Error {
	t.Helper()
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%v is no Error of reason %s", err, reason)
	}
	if failed.Reason != reason {
		t.Fatalf("%+v is not of reason %s", failed, reason)
	}
	return failed
}

func fields(failed *Error) []string {
	var names []string
	for _, v := range failed.Violations {
		names = append(names, v.Field)
	}
	return names
}

// claimed is a PNG that says it has this size.
func claimed(width, height int) []byte {
	file := bytes.Clone(pngOf(noise(4, 4, 1)))
	binary.BigEndian.PutUint32(file[16:], uint32(width))
	binary.BigEndian.PutUint32(file[20:], uint32(height))
	binary.BigEndian.PutUint32(file[29:], crc32.ChecksumIEEE(file[12:29]))
	return file
}

// manyScans repeats the scan of a JPEG.
func manyScans() []byte {
	file := jpegOf(noise(16, 16, 1))
	scan := bytes.LastIndex(file, []byte{0xff, 0xda})
	end := len(file) - 2
	return slices.Concat(file[:scan], bytes.Repeat(file[scan:end], 200), file[end:])
}

func TestBadImagesAreRefusedByReason(t *testing.T) {
	client := dialHouse(t)
	whole := pngOf(noise(64, 64, 21))
	for name, c := range map[string]struct {
		file   []byte
		reason Reason
	}{
		"empty":         {nil, ReasonImageEmpty},
		"cut off":       {whole[:len(whole)/2], ReasonImageCorrupt},
		"text":          {[]byte("What is the total?"), ReasonImageFormatNotSupported},
		"too large":     {bytes.Repeat([]byte("\x89PNG"), 9<<20), ReasonImageTooLarge},
		"60000 squared": {claimed(60_000, 60_000), ReasonImageTooManyPixels},
		"17000 wide":    {claimed(17_000, 100), ReasonImageSideTooLong},
		"201:1":         {claimed(402, 2), ReasonImageAspectTooExtreme},
		"200 scans":     {manyScans(), ReasonImageTooManyScans},
	} {
		_, put := client.Put(context.Background(), Bytes(c.file))
		_, ask := client.Ask(context.Background(), Question("?", Bytes(c.file)))
		for _, err := range []error{put, ask} {
			failed := failure(t, err, c.reason)
			if failed.Code != codes.InvalidArgument || len(failed.Violations) == 0 || failed.RequestID == "" {
				t.Errorf("%s: %+v", name, failed)
			}
		}
	}
}

// A file that changes between its id and its bytes; the interceptor changes it.
func TestAFileThatChangesWhileItIsSentIsRefused(t *testing.T) {
	path := t.TempDir() + "/changing.png"
	write := func(seed uint64) {
		if err := os.WriteFile(path, pngOf(noise(64, 64, seed)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(31)
	client := dialHouse(t, WithDialOptions(grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc,
		cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		write(32)
		return open(ctx, desc, cc, method, opts...)
	})))
	_, err := client.Put(context.Background(), File(path))
	failed := failure(t, err, ReasonDigestMismatch)
	if failed.Metadata["actual"] != ID(pngOf(noise(64, 64, 32))) {
		t.Errorf("%+v", failed)
	}
}

func TestARequestOutsideOfItsLimitsIsRefusedByField(t *testing.T) {
	client := dialHouse(t)
	chart := File(ChartOfTheTests)
	for name, c := range map[string]struct {
		reason Reason
		field  string
		change func(*Request)
	}{
		"temperature":        {ReasonInvalidArgument, "sampling.temperature", func(r *Request) { r.Sampling.Temperature = -1 }},
		"top_p":              {ReasonInvalidArgument, "sampling.top_p", func(r *Request) { r.Sampling.TopP = 1.5 }},
		"top_k":              {ReasonInvalidArgument, "sampling.top_k", func(r *Request) { r.Sampling.TopK = -1 }},
		"min_p":              {ReasonInvalidArgument, "sampling.min_p", func(r *Request) { r.Sampling.MinP = 2 }},
		"repetition_penalty": {ReasonInvalidArgument, "sampling.repetition_penalty", func(r *Request) { r.Sampling.RepetitionPenalty = -2 }},
		"presence_penalty":   {ReasonInvalidArgument, "sampling.presence_penalty", func(r *Request) { r.Sampling.PresencePenalty = 2.5 }},
		"frequency_penalty":  {ReasonInvalidArgument, "sampling.frequency_penalty", func(r *Request) { r.Sampling.FrequencyPenalty = -2.5 }},
		"logit_bias":         {ReasonInvalidArgument, "sampling.logit_bias[5]", func(r *Request) { r.Sampling.LogitBias = map[uint32]float32{5: 101} }},
		"top logprobs":       {ReasonInvalidArgument, "logprobs.top", func(r *Request) { r.TopLogprobs = 21 }},
		"negative logprobs":  {ReasonInvalidArgument, "logprobs.top", func(r *Request) { r.TopLogprobs = -1 }},
		"stop":               {ReasonInvalidArgument, "sampling.stop", func(r *Request) { r.Sampling.Stop = []string{""} }},
		"negative tokens":    {ReasonInvalidArgument, "sampling.max_new_tokens", func(r *Request) { r.Sampling.MaxNewTokens = -1 }},
		"endless tokens":     {ReasonInvalidArgument, "sampling.max_new_tokens", func(r *Request) { r.Sampling.MaxNewTokens = 1 << 40 }},
		"too many tokens":    {ReasonMaxNewTokensTooLarge, "", func(r *Request) { r.Sampling.MaxNewTokens = 513 }},
		"max_pixels":         {ReasonInvalidArgument, "visual.max_pixels", func(r *Request) { r.MaxPixels = 100 }},
		"negative pixels":    {ReasonInvalidArgument, "visual.max_pixels", func(r *Request) { r.MaxPixels = -1 }},
		"an id":              {ReasonInvalidArgument, "messages[0].parts[0].image.digest", func(r *Request) { r.Messages[0].Parts[0] = Image("chart") }},
		"an empty image":     {ReasonInvalidArgument, "messages[0].parts[0]", func(r *Request) { r.Messages[0].Parts[0] = nil }},
		"no message":         {ReasonMessagesInvalid, "messages", func(r *Request) { r.Messages = nil }},
		"no part":            {ReasonMessagesInvalid, "messages[0].parts", func(r *Request) { r.Messages[0].Parts = nil }},
		"a role":             {ReasonMessagesInvalid, "messages[0].role", func(r *Request) { r.Messages[0].Role = "judge" }},
		"the last word":      {ReasonMessagesInvalid, "messages[1].role", func(r *Request) { r.Messages = append(r.Messages, Assistant("Hm.")) }},
		"a late system":      {ReasonMessagesInvalid, "messages[1].role", func(r *Request) { r.Messages = append(r.Messages, System("Be brief.")) }},
		"too many images": {ReasonTooManyImages, "messages", func(r *Request) {
			*r = Question("?", slices.Repeat([]Source{chart}, 33)...)
		}},
	} {
		request := Question("?", chart)
		c.change(&request)
		_, whole := client.Ask(context.Background(), request)
		for _, err := range []error{whole, drain(client, request)} {
			failed := failure(t, err, c.reason)
			if failed.Code != codes.InvalidArgument || c.field != "" && !slices.Contains(fields(failed), c.field) {
				t.Errorf("%s: %+v", name, failed)
			}
		}
	}
	_, err := dialHouseEncoder(t).CountTokens(context.Background(), Size{-1, 10}, 0)
	if failed := failure(t, err, ReasonInvalidArgument); fields(failed)[0] != "width" {
		t.Errorf("%+v", failed)
	}
	_, err = dialHouseEncoder(t).CountTokens(context.Background(), Size{201, 1}, 0)
	failure(t, err, ReasonImageAspectTooExtreme)
}

func TestAPromptTooLongNamesTheSizeThatFits(t *testing.T) {
	client := dialHouse(t) // 2,048 tokens of context
	request := Question("What is this picture?", Bytes(flat(1500, 1500)))
	request.MaxPixels, request.Sampling.MaxNewTokens = 4_000_000, 2
	_, err := client.Ask(context.Background(), request)
	failed := failure(t, err, ReasonContextTooLong)
	fits, err := strconv.Atoi(failed.Metadata["max_pixels_that_fits"])
	if err != nil || failed.Metadata["limit"] != "2048" || !strings.Contains(failed.Error(), strconv.Itoa(fits)) {
		t.Fatalf("%+v", failed)
	}
	request.MaxPixels = fits
	count, err := client.CountTokens(context.Background(), request)
	if err != nil || !count.FitsContext {
		t.Errorf("%+v, %v", count, err)
	}
	request.MaxPixels++
	count, err = client.CountTokens(context.Background(), request)
	if err != nil || count.FitsContext {
		t.Errorf("%+v, %v", count, err)
	}
	_, err = client.Ask(context.Background(), Question(strings.Repeat("How many rows does the table have? ", 2000)))
	failure(t, err, ReasonContextTooLong)
}

func TestAnImageThatIsNotStored(t *testing.T) {
	client := dialHouse(t)
	id := ID([]byte("never stored"))
	_, describe := client.Describe(context.Background(), id)
	_, ask := client.Ask(context.Background(), Question("?", Image(id)))
	for _, err := range []error{describe, ask, drain(client, Question("?", Image(id)))} {
		failed := failure(t, err, ReasonImageNotStored)
		if failed.Code != codes.NotFound || failed.Metadata["digest"] != id {
			t.Errorf("%+v", failed)
		}
	}
}

func TestACallThatIsNotServedIsRefused(t *testing.T) {
	stranger := DialEncoder(house(t).decoder.address) // a decoder is no encoder
	defer stranger.Close()
	_, err := stranger.CacheStats(context.Background())
	failed := failure(t, err, ReasonNotServed)
	if failed.RequestID != "" {
		t.Errorf("%+v", failed)
	}
}

func TestAMessageAboveTheLimitIsRefused(t *testing.T) {
	_, err := dialHouse(t).Ask(context.Background(), Question(strings.Repeat("x", 33<<20)))
	if failed := failure(t, err, ReasonMessageTooLarge); failed.Code != codes.ResourceExhausted || failed.RetryAfter != 0 {
		t.Errorf("%+v", failed)
	}
}

func TestAStatusWithoutDetailsHasAPlainReason(t *testing.T) {
	for code, reason := range map[codes.Code]Reason{
		codes.Unavailable: ReasonUnavailable, codes.DeadlineExceeded: ReasonDeadlineExceeded, codes.Canceled: ReasonAborted,
		codes.ResourceExhausted: ReasonMessageTooLarge, codes.Unimplemented: ReasonNotServed, codes.Internal: ReasonUnknown,
		codes.PermissionDenied: ReasonUnknown,
	} {
		err := errorOf(status.Error(code, "from a proxy"))
		failed := failure(t, err, reason)
		if failed.Code != code || failed.Message != "from a proxy" || status.Code(err) != code {
			t.Errorf("%+v", failed)
		}
		if errors.Is(err, context.Canceled) != (code == codes.Canceled) ||
			errors.Is(err, context.DeadlineExceeded) != (code == codes.DeadlineExceeded) {
			t.Errorf("%+v as an error of context", failed)
		}
	}
	if err := errorOf(nil); err != nil {
		t.Error(err)
	}
}
