package fovea

import (
	"cmp"
	"context"
	"errors"
	"io"

	encoderv1 "fovea.dev/go/fovea/encoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// An EncoderClient calls an encoder service. It is safe for concurrent use.
type EncoderClient struct {
	link link
	stub encoderv1.EncoderServiceClient
}

// DialEncoder returns a client of the encoder at address, as [Dial] does for a decoder.
func DialEncoder(address string, options ...Option) *EncoderClient {
	l := dial(address, options)
	return &EncoderClient{l, encoderv1.NewEncoderServiceClient(l.channel)}
}

// Close closes the connection and ends all calls on it.
func (c *EncoderClient) Close() error { return c.link.close() }

// Put stores an image on this encoder, as [Client.Put] does. For requests through a decoder, use its Put: the
// decoder knows which encoder owns the image.
func (c *EncoderClient) Put(ctx context.Context, image Source, options ...PutOption) (Stored, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	return put(ctx, c, image, options)
}

// Describe returns the facts of a stored image. It fails with [ReasonImageNotStored] if the image is not stored
// here.
func (c *EncoderClient) Describe(ctx context.Context, id string) (Stored, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	return c.describe(ctx, id)
}

// CountTokens returns the cost of an image of this size, without the image. maxPixels 0 takes the service's
// default.
func (c *EncoderClient) CountTokens(ctx context.Context, size Size, maxPixels int) (TokenCount, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	width, wide := count32("width", size.Width)
	height, high := count32("height", size.Height)
	limit, most := count32("max_pixels", maxPixels)
	if err := cmp.Or(wide, high, most); err != nil {
		return TokenCount{}, err
	}
	request := &encoderv1.CountTokensRequest{Width: width, Height: height, MaxPixels: unlessZero(limit)}
	reply, err := c.stub.CountTokens(ctx, request)
	if err != nil {
		return TokenCount{}, errorOf(err)
	}
	return tokenCountOf(reply.Count), nil
}

// An EncodePlan says how to encode an image. Its zero value takes the service's defaults.
type EncodePlan struct {
	// MaxPixels is the most pixels of the image; a larger image is resized.
	MaxPixels int
	// FlatTolerance drops uniform patches: new(uint32(0)) those of exactly a single colour; higher values are the
	// largest allowed difference per channel.
	FlatTolerance *uint32
	// Keep is the share of the encoded rows to send, above 0 and at most 1. Auto chooses the share from the image.
	Keep float64
	Auto bool
	// Reducer says how rows are ranked.
	Reducer Reducer
	// Fingerprint is the expected rows fingerprint. If it differs, the call fails with [ReasonEncoderMismatch].
	Fingerprint string
}

// Encode returns the rows of a stored image, complete and verified. Rows that differ from their header are an
// error with [ReasonRowsMismatch].
func (c *EncoderClient) Encode(ctx context.Context, id string, plan EncodePlan) (*Rows, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	request, err := plan.request(id)
	if err != nil {
		return nil, err
	}
	stream, err := c.stub.Encode(ctx, request)
	if err != nil {
		return nil, errorOf(err)
	}
	var rows assembly
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return rows.whole()
		}
		if err == nil {
			err = rows.take(message)
		}
		if err != nil {
			return nil, errorOf(err)
		}
	}
}

// Placed describes the rows that a plan selects.
type Placed struct {
	// Known is false if only the vision tower could tell and was not run. Count is then that of the whole image.
	Known bool
	// Cost is the cost of the image at its planned size. Count is the number of rows sent.
	Cost  TokenCount
	Count int
	// Kept lists their indices, as in [Rows]. Order lists the indices of all encoded rows, the most important
	// first.
	Kept, Order []int
	// Source says where the encoder got the rows. It is [SourceNone] if the tower was not needed.
	Source      RowSource
	Encoder     string
	Fingerprint string
	Timings     EncodeTimings
}

// A PlaceOption configures [EncoderClient.PlaceRows].
type PlaceOption func(*encoderv1.PlaceRowsRequest)

// WithOrder returns the ranking of the rows too, if the plan selects rows.
func WithOrder() PlaceOption { return func(r *encoderv1.PlaceRowsRequest) { r.Order = true } }

// WithoutEncoding never runs the vision tower.
func WithoutEncoding() PlaceOption {
	return func(r *encoderv1.PlaceRowsRequest) { r.StoredOnly = true }
}

// PlaceRows returns the indices of the rows that a plan selects.
func (c *EncoderClient) PlaceRows(
	ctx context.Context, id string, plan EncodePlan, options ...PlaceOption,
) (*Placed, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	encode, err := plan.request(id)
	if err != nil {
		return nil, err
	}
	request := &encoderv1.PlaceRowsRequest{Encode: encode}
	for _, option := range options {
		option(request)
	}
	reply, err := c.stub.PlaceRows(ctx, request)
	if err != nil {
		return nil, errorOf(err)
	}
	return placedOf(reply)
}

func placedOf(m *encoderv1.PlaceRowsResponse) (*Placed, error) {
	h := m.GetHeader()
	kept, err := keptOf(h)
	if err != nil {
		return nil, err
	}
	return &Placed{
		Known:       m.Known,
		Cost:        tokenCountOf(h.GetCount()),
		Count:       int(h.GetRows()),
		Kept:        kept,
		Order:       each(m.Order, func(place uint32) int { return int(place) }),
		Source:      sourceOf(h.GetSource()),
		Encoder:     h.GetEncoder(),
		Fingerprint: h.GetFingerprint(),
		Timings:     timingsOf(m.Timings),
	}, nil
}

func (p EncodePlan) request(id string) (*encoderv1.EncodeRequest, error) {
	var w writer
	limit, err := count32("plan.max_pixels", p.MaxPixels)
	reducer := visionv1.Reducer(w.word("plan.rows.reducer", string(p.Reducer), visionv1.Reducer_value))
	if err := cmp.Or(err, w.err); err != nil {
		return nil, err
	}
	plan := &encoderv1.EncodePlan{MaxPixels: unlessZero(limit), FlatTolerance: p.FlatTolerance}
	if p.Keep != 0 || p.Auto || reducer != 0 {
		plan.Rows = &encoderv1.RowChoice{Keep: unlessZero(float32(p.Keep)), Auto: p.Auto, Reducer: reducer}
	}
	return &encoderv1.EncodeRequest{Digest: id, Plan: plan, Fingerprint: p.Fingerprint}, nil
}

// Deleted says what a deletion removed.
type Deleted struct {
	// Uploads is 1 if the file was stored. Records counts the row records of its pixels.
	Uploads, Records int
	// Bytes is the size of both.
	Bytes int64
	// Erasure says what becomes of these bytes on the encoder's disk. Empty if the encoder does not say.
	Erasure Erasure
}

// Erasure says whether deleted bytes are still in the files of an encoder.
type Erasure string

// The values of [Erasure]. After AfterCompaction, repeat the deletion to learn whether the bytes have gone.
const (
	Erased          Erasure = "erased"
	AfterCompaction Erasure = "after_compaction"
)

func erasureOf(value visionv1.Erasure) Erasure {
	return wordOf[Erasure](int32(value), visionv1.Erasure_name)
}

// Delete deletes an image and all rows of its pixels. Deleting an image that is not stored succeeds with zeros.
func (c *EncoderClient) Delete(ctx context.Context, id string) (Deleted, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.DeleteImage(ctx, &encoderv1.DeleteImageRequest{Digest: id})
	if err != nil {
		return Deleted{}, errorOf(err)
	}
	erasure := erasureOf(reply.Erasure)
	return Deleted{int(reply.Uploads), int(reply.Records), int64(reply.Bytes), erasure}, nil
}

// CacheStats returns the contents of the store and its hit counts.
func (c *EncoderClient) CacheStats(ctx context.Context) (CacheStats, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.GetCacheStats(ctx, &encoderv1.GetCacheStatsRequest{})
	if err != nil {
		return CacheStats{}, errorOf(err)
	}
	return cacheStatsOf(reply), nil
}

// Info returns the service's model, state, limits and load.
func (c *EncoderClient) Info(ctx context.Context) (*EncoderInfo, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.GetServerInfo(ctx, &encoderv1.GetServerInfoRequest{})
	if err != nil {
		return nil, errorOf(err)
	}
	return encoderInfoOf(reply), nil
}

func (c *EncoderClient) describe(ctx context.Context, id string) (Stored, error) {
	reply, err := c.stub.DescribeImage(ctx, &encoderv1.DescribeImageRequest{Digest: id})
	if err != nil {
		return Stored{}, errorOf(err)
	}
	return storedOf(reply, true), nil
}

func (c *EncoderClient) send(ctx context.Context, u *upload, whole bool) (Stored, error) {
	stream, err := c.stub.PutImage(ctx)
	if err != nil {
		return Stored{}, errorOf(err)
	}
	header := &encoderv1.PutImageHeader{Digest: u.id, ByteSize: u.announced()}
	reply, err := sendPieces(stream, u, whole, &encoderv1.PutImageRequest{Header: header},
		func(piece []byte) *encoderv1.PutImageRequest { return &encoderv1.PutImageRequest{Data: piece} })
	if err != nil {
		return Stored{}, err
	}
	return storedOf(reply, reply.AlreadyStored), nil
}
