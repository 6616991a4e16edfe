package fovea

import (
	"cmp"
	"context"
	"errors"
	"io"

	encoderv1 "fovea.dev/go/fovea/encoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// An EncoderClient speaks to one encoder service. It serves many goroutines at once.
type EncoderClient struct {
	link link
	stub encoderv1.EncoderServiceClient
}

// DialEncoder makes a client of the encoder at address, as [Dial] does of a decoder.
func DialEncoder(address string, options ...Option) *EncoderClient {
	l := dial(address, options)
	return &EncoderClient{l, encoderv1.NewEncoderServiceClient(l.channel)}
}

// Close ends the connection and all calls on it.
func (c *EncoderClient) Close() error { return c.link.close() }

// Put stores an image on this encoder, as [Client.Put] does. Who asks through a decoder puts it there: the
// decoder knows which encoder owns the image.
func (c *EncoderClient) Put(ctx context.Context, image Source, options ...PutOption) (Stored, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	return put(ctx, c, image, options)
}

// Describe tells what is known of a stored image; [ReasonImageNotStored] where it is not, or no longer, here.
func (c *EncoderClient) Describe(ctx context.Context, id string) (Stored, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	return c.describe(ctx, id)
}

// CountTokens tells what an image of this size costs; no image is needed. maxPixels 0 leaves the limit to the
// service.
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

// An EncodePlan says how an image is to be encoded. Its zero value leaves all to the service.
type EncodePlan struct {
	// MaxPixels shrinks the image to at most this many pixels.
	MaxPixels int
	// FlatTolerance encodes no square of one colour whose values differ by at most this: new(uint32(0)) for those of
	// exactly one colour.
	FlatTolerance *uint32
	// Keep is the share of the encoded rows that is sent, above 0 and up to 1; Auto sends as many as add something.
	Keep float64
	Auto bool
	// Reducer says which rows those are.
	Reducer Reducer
	// Fingerprint refuses rows of any other model, with [ReasonEncoderMismatch].
	Fingerprint string
}

// Encode gives the rows of a stored image, whole and checked. Rows that are not what was announced are an error
// of [ReasonRowsMismatch].
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

// Placed says which rows of an image a plan sends.
type Placed struct {
	// Known is false where only the vision tower could tell and was not to be run; Count is then of the whole image.
	Known bool
	// Cost is that of the image at its planned size, Count how many rows are sent.
	Cost  TokenCount
	Count int
	// Kept are their places as in [Rows], Order those of all encoded rows, the most important first.
	Kept, Order []int
	// Source says where the encoder had them from; it is [SourceNone] where the tower was not needed.
	Source      RowSource
	Encoder     string
	Fingerprint string
	Timings     EncodeTimings
}

// A PlaceOption asks [EncoderClient.PlaceRows] for more, or less.
type PlaceOption func(*encoderv1.PlaceRowsRequest)

// WithOrder asks for the order of the rows too, where the plan chooses among them.
func WithOrder() PlaceOption { return func(r *encoderv1.PlaceRowsRequest) { r.Order = true } }

// WithoutEncoding never runs the vision tower for this.
func WithoutEncoding() PlaceOption {
	return func(r *encoderv1.PlaceRowsRequest) { r.StoredOnly = true }
}

// PlaceRows tells which rows of a stored image a plan sends.
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

// Deleted is what a deletion removed.
type Deleted struct {
	// Uploads is 1 where the file was stored, Records counts row records of its pixels.
	Uploads, Records int
	// Bytes are those of both.
	Bytes int64
}

// Delete removes an image and all rows of its pixels. What is not there is removed with zeros.
func (c *EncoderClient) Delete(ctx context.Context, id string) (Deleted, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.DeleteImage(ctx, &encoderv1.DeleteImageRequest{Digest: id})
	if err != nil {
		return Deleted{}, errorOf(err)
	}
	return Deleted{int(reply.Uploads), int(reply.Records), int64(reply.Bytes)}, nil
}

// CacheStats tells what the store holds and how often it was hit.
func (c *EncoderClient) CacheStats(ctx context.Context) (CacheStats, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.GetCacheStats(ctx, &encoderv1.GetCacheStatsRequest{})
	if err != nil {
		return CacheStats{}, errorOf(err)
	}
	return cacheStatsOf(reply), nil
}

// Info tells the service's model, state, limits and load.
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
