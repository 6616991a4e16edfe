package fovea

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"time"

	encoderv1 "fovea.dev/go/fovea/encoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
	"github.com/zeebo/xxh3"
	"google.golang.org/grpc/codes"
)

// layoutVersion is the version that this package reads.
const layoutVersion = 1

// A RowLayout describes a row: Width * (1 + Levels) values, little-endian, the pooled features first, then each
// deepstack level. After the values, fp8 and int8 have their scales, in fp32: for each level in fp8, for each
// group of 64 values of a level in int8.
type RowLayout struct {
	// Width is the hidden size of the language model. Levels is the number of deepstack levels, in addition to the
	// pooled features.
	Width, Levels int
	// Dtype is bf16, fp16, fp32, fp8 (e4m3fn) or int8.
	Dtype string
	// RowBytes is the size of a row.
	RowBytes int
}

// Rows are the visual rows of an image, a row for each visual token, in raster order of the merged grid.
type Rows struct {
	// Layout describes a row.
	Layout RowLayout
	// Count is the number of rows. Data holds all of them: Count * Layout.RowBytes bytes.
	Count int
	Data  []byte
	// Kept lists the kept indices: positions on the merged grid, ascending. nil if all rows are present.
	Kept []int
	// Cost is the cost of the image with the plan.
	Cost TokenCount
	// Source says where the encoder got the rows. Encoder is its name.
	Source  RowSource
	Encoder string
	// Fingerprint identifies the vision weights and the processor of the rows.
	Fingerprint string
	// Digest is `sha256:<hex>` over Data.
	Digest string
	// Timings are the encoder's own.
	Timings EncodeTimings
}

// EncodeTimings are the times that an encoder spent on a call, by stage. 0 for a stage that did not run.
type EncodeTimings struct {
	// Queue is the wait for a batch.
	Queue time.Duration
	// Decode is the decoding of the file. Preprocess is resizing, normalising and splitting into patches.
	Decode, Preprocess time.Duration
	// Tower is the vision tower, for the whole batch that contained the image.
	Tower time.Duration
	// Store is reading the rows from the store. Total is the time from the call to the first message.
	Store, Total time.Duration
}

func layoutOf(m *visionv1.RowLayout) RowLayout {
	return RowLayout{int(m.GetWidth()), int(m.GetLevels()), dtypeOf(m.GetDtype()), int(m.GetRowBytes())}
}

// known reports whether this package reads the layout and whether the layout is consistent.
func known(m *visionv1.RowLayout) bool {
	l := layoutOf(m)
	return m.GetVersion() == layoutVersion && l.RowBytes > 0 && l.RowBytes == (1+l.Levels)*levelBytes(l.Width, l.Dtype)
}

const (
	scaleBytes = 4
	int8Group  = 64 // values that share a scale; all of a level where it has fewer
)

// levelBytes is the size of a level, its scales included. 0 if no such level exists.
func levelBytes(width int, dtype string) int {
	switch dtype {
	case "bf16", "fp16":
		return 2 * width
	case "fp32":
		return 4 * width
	case "fp8":
		return width + scaleBytes
	case "int8":
		if group := min(width, int8Group); group > 0 && width%group == 0 {
			return width + width/group*scaleBytes
		}
	}
	return 0
}

// assembly collects the rows of an Encode stream. It trusts nothing: layout, order, count, length and checksum of
// every chunk are compared with the header, and the digest of the whole with the summary.
type assembly struct {
	header  *encoderv1.EncodeHeader
	kept    []int
	summary *encoderv1.EncodeSummary
	data    bytes.Buffer
	hash    hash.Hash
	next    int
}

// take refuses a message that does not fit the previous messages. Messages of a later service are skipped.
func (a *assembly) take(message *encoderv1.EncodeResponse) error {
	switch e := message.Event.(type) {
	case *encoderv1.EncodeResponse_Header:
		return a.open(e.Header)
	case *encoderv1.EncodeResponse_Chunk:
		return a.add(e.Chunk)
	case *encoderv1.EncodeResponse_Summary:
		if a.summary != nil {
			return mismatch("the stream has a second summary")
		}
		a.summary = e.Summary
	}
	return nil
}

func (a *assembly) open(header *encoderv1.EncodeHeader) error {
	if a.header != nil || !known(header.Layout) {
		return mismatch("the stream has a second header, or rows of an unknown layout")
	}
	kept, err := keptOf(header)
	a.header, a.kept, a.hash = header, kept, sha256.New()
	return err
}

// keptOf returns the kept indices, ascending and on the grid. nil if all rows are present.
func keptOf(header *encoderv1.EncodeHeader) ([]int, error) {
	if len(header.GetKept()) == 0 {
		return nil, nil
	}
	if len(header.Kept) != int(header.Rows) {
		return nil, mismatch("%d places came for %d rows", len(header.Kept), header.Rows)
	}
	places, last := make([]int, len(header.Kept)), -1
	for i, place := range header.Kept {
		if int(place) <= last || place >= header.GetCount().GetTokens() {
			return nil, mismatch("the place %d came after %d, of %d", place, last, header.GetCount().GetTokens())
		}
		places[i], last = int(place), int(place)
	}
	return places, nil
}

func (a *assembly) add(chunk *visionv1.RowChunk) error {
	if a.header == nil || a.summary != nil {
		return mismatch("rows came before their header or after their summary")
	}
	first, count := int(chunk.FirstRow), int(chunk.Rows)
	inOrder := first == a.next && count > 0 && first+count <= int(a.header.Rows)
	if !inOrder || len(chunk.Data) != count*int(a.header.Layout.RowBytes) {
		return mismatch("%d rows at %d, in %d bytes, came after %d rows", count, first, len(chunk.Data), a.next)
	}
	if xxh3.Hash(chunk.Data) != chunk.Xxh3 {
		return mismatch("the checksum of the rows at %d does not fit", first)
	}
	a.next += count
	a.data.Write(chunk.Data)
	a.hash.Write(chunk.Data)
	return nil
}

// whole returns all rows, once the stream has ended.
func (a *assembly) whole() (*Rows, error) {
	h, s := a.header, a.summary
	if h == nil || s == nil {
		return nil, mismatch("the stream ended without a header or a summary")
	}
	if a.next != int(h.Rows) || s.Rows != h.Rows || int(s.RowBytes) != a.data.Len() {
		return nil, mismatch("%d rows came, %d were announced", a.next, h.Rows)
	}
	if digest := idOf(a.hash.Sum(nil)); digest != s.RowsDigest {
		return nil, mismatch("the digest of the rows does not fit")
	}
	return &Rows{
		Layout:      layoutOf(h.Layout),
		Count:       a.next,
		Data:        a.data.Bytes(),
		Kept:        a.kept,
		Cost:        tokenCountOf(h.Count),
		Source:      sourceOf(h.Source),
		Encoder:     h.Encoder,
		Fingerprint: h.Fingerprint,
		Digest:      s.RowsDigest,
		Timings:     timingsOf(s.GetTimings()),
	}, nil
}

func timingsOf(t *encoderv1.EncodeTimings) EncodeTimings {
	return EncodeTimings{
		Queue:      ms(t.GetQueueMs()),
		Decode:     ms(t.GetDecodeMs()),
		Preprocess: ms(t.GetPreprocessMs()),
		Tower:      ms(t.GetTowerMs()),
		Store:      ms(t.GetStoreMs()),
		Total:      ms(t.GetTotalMs()),
	}
}

func mismatch(format string, args ...any) error {
	return refused(codes.DataLoss, ReasonRowsMismatch, format, args...)
}
