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

// layoutVersion is the one that this package reads.
const layoutVersion = 1

// A RowLayout says how to read a row: Width * (1 + Levels) values, little-endian, the pooled features first, then
// each deepstack level. Behind the values of fp8 and int8 stand their scales, in fp32: one for each level in fp8, one
// for each 64 values of a level in int8.
type RowLayout struct {
	// Width is the hidden size of the language model, Levels the deepstack levels beside the pooled features.
	Width, Levels int
	// Dtype is bf16, fp16, fp32, fp8 (e4m3fn) or int8.
	Dtype string
	// RowBytes are those of one row.
	RowBytes int
}

// Rows are the visual rows of one image, one row a visual token, in raster order of the merged grid.
type Rows struct {
	// Layout says how to read a row.
	Layout RowLayout
	// Count is how many rows there are, Data all of them: Count * Layout.RowBytes bytes.
	Count int
	Data  []byte
	// Kept are their places on the merged grid, one a row, ascending; nil where all rows are here.
	Kept []int
	// Cost is that of the image under the plan.
	Cost TokenCount
	// Source says where the encoder had them from, Encoder who it is.
	Source  RowSource
	Encoder string
	// Fingerprint says which vision weights and processor they come from.
	Fingerprint string
	// Digest is `sha256:<hex>` over Data.
	Digest string
	// Timings are the encoder's own.
	Timings EncodeTimings
}

// EncodeTimings are what an encoder spent on a call, by stage; 0 where a stage did not happen.
type EncodeTimings struct {
	// Queue is the wait for a place in a batch.
	Queue time.Duration
	// Decode is the decoding of the file, Preprocess resizing, normalising and cutting into patches.
	Decode, Preprocess time.Duration
	// Tower is the vision tower, of the whole batch in which the image was.
	Tower time.Duration
	// Store is reading the rows from the store, Total the time from the call to the first message.
	Store, Total time.Duration
}

func layoutOf(m *visionv1.RowLayout) RowLayout {
	return RowLayout{int(m.GetWidth()), int(m.GetLevels()), dtypeOf(m.GetDtype()), int(m.GetRowBytes())}
}

// known says whether the layout is one that this package reads, and fits itself.
func known(m *visionv1.RowLayout) bool {
	l := layoutOf(m)
	return m.GetVersion() == layoutVersion && l.RowBytes > 0 && l.RowBytes == (1+l.Levels)*levelBytes(l.Width, l.Dtype)
}

const (
	scaleBytes = 4
	int8Group  = 64 // values that share a scale; all of a level where it has fewer
)

// levelBytes are those of one level, its scales included; 0 where such a level cannot be.
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

// assembly puts the rows of one Encode stream together. It trusts nothing: layout, order, count, length and
// checksum of every chunk are compared with the header, and the digest of the whole with the summary.
type assembly struct {
	header  *encoderv1.EncodeHeader
	kept    []int
	summary *encoderv1.EncodeSummary
	data    bytes.Buffer
	hash    hash.Hash
	next    int
}

// take refuses a message that does not fit what came before. Messages of a later service are passed over.
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

// keptOf are the places of the rows, ascending and on the grid; nil where all rows are there.
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

// whole gives all rows, once the stream has ended.
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
