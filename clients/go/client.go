package fovea

import (
	"context"
	"errors"
	"io"
	"iter"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// A Client calls a decoder service. It is safe for concurrent use.
type Client struct {
	link  link
	stub  decoderv1.DecoderServiceClient
	usage decoderv1.UsageServiceClient
}

// Dial returns a client of the decoder at address: `host:port`, several of them separated by commas, or
// `dns:///name:port`, where all addresses of the name are decoders. Requests about the same image go to the same
// decoder while it answers, so that its cached prefix is used. It connects with the first call and reconnects after a
// loss, so it cannot fail. With an invalid address, calls fail.
func Dial(address string, options ...Option) *Client {
	l := dial(address, options)
	return &Client{l, decoderv1.NewDecoderServiceClient(l.channel), decoderv1.NewUsageServiceClient(l.channel)}
}

// Close closes the connection and ends all calls on it.
func (c *Client) Close() error { return c.link.close() }

// Put stores an image, so that requests can refer to it by its id. A stored image is not sent again, but its
// expiry is renewed. For an [Image], which is an id, Put only describes the image.
func (c *Client) Put(ctx context.Context, image Source, options ...PutOption) (Stored, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	return put(ctx, c, image, options)
}

// Describe returns the facts of a stored image. It fails with [ReasonImageNotStored] if the image is not stored.
func (c *Client) Describe(ctx context.Context, id string) (Stored, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	return c.describe(ctx, id)
}

// EncoderDeletion is a deletion on an encoder.
type EncoderDeletion struct {
	// Encoder is the address.
	Encoder string
	// Confirmed is false if the encoder may still hold the data. Reason says why.
	Confirmed bool
	Reason    Reason
	// Deleted says what was removed.
	Deleted Deleted
}

// Delete deletes an image and all rows of its pixels, on every encoder and in the decoder's caches. It succeeds even
// if some encoders did not confirm; repeat it until all do.
func (c *Client) Delete(ctx context.Context, id string) ([]EncoderDeletion, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.DeleteImage(withKey(ctx, id), &decoderv1.DeleteImageRequest{Digest: id})
	if err != nil {
		return nil, errorOf(err)
	}
	return encoderDeletions(reply.Encoders), nil
}

// PurgeTenant deletes everything of a tenant, on every encoder and in the decoder's caches. It needs a token of role
// operator. Otherwise it is like [Client.Delete].
func (c *Client) PurgeTenant(ctx context.Context, tenant string) ([]EncoderDeletion, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.PurgeTenant(ctx, &decoderv1.PurgeTenantRequest{Tenant: tenant})
	if err != nil {
		return nil, errorOf(err)
	}
	return encoderDeletions(reply.Encoders), nil
}

func encoderDeletions(messages []*decoderv1.EncoderDeletion) []EncoderDeletion {
	deletions := make([]EncoderDeletion, len(messages))
	for i, m := range messages {
		deleted := Deleted{int(m.Uploads), int(m.Records), int64(m.Bytes), erasureOf(m.Erasure)}
		deletions[i] = EncoderDeletion{m.Encoder, m.Confirmed, Reason(m.Reason), deleted}
	}
	return deletions
}

// Ask returns the complete answer. Files that the service does not hold are stored first.
func (c *Client) Ask(ctx context.Context, request Request) (*Answer, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	var reply *decoderv1.CompleteResponse
	err := c.stored(ctx, request, func(ctx context.Context, sent *decoderv1.GenerateRequest) (err error) {
		reply, err = c.stub.Complete(ctx, &decoderv1.CompleteRequest{Request: sent})
		return errorOf(err)
	})
	if err != nil {
		return nil, err
	}
	return answerOf(reply), nil
}

// Stream streams the answer: a [Started], then [Delta]s, then a [Finished]. An error is the last item. Leaving the
// loop early cancels the request on the service. Each loop over the stream sends a new request.
func (c *Client) Stream(ctx context.Context, request Request) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := c.link.bound(ctx)
		defer cancel()
		stream, message, err := c.open(ctx, request)
		for ; err == nil; message, err = stream.Recv() {
			event := eventOf(message)
			if _, last := event.(Finished); last {
				err = ended(stream) // first, so that leaving the loop now cancels nothing
				if err != nil {
					break
				}
				yield(event, nil)
				return
			}
			if event != nil && !yield(event, nil) {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			err = refused(codes.Internal, ReasonAnswerIncomplete, "the answer ended without its closing message")
		}
		yield(nil, errorOf(err))
	}
}

// CountTokens returns the cost of a request without running the language model. Files are stored.
func (c *Client) CountTokens(ctx context.Context, request Request) (Count, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	var reply *decoderv1.CountTokensResponse
	err := c.stored(ctx, request, func(ctx context.Context, sent *decoderv1.GenerateRequest) (err error) {
		reply, err = c.stub.CountTokens(ctx, &decoderv1.CountTokensRequest{Request: sent})
		return errorOf(err)
	})
	if err != nil {
		return Count{}, err
	}
	return countOf(reply), nil
}

// Info returns the service's model, state, limits, load and encoders.
func (c *Client) Info(ctx context.Context) (*ServerInfo, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.stub.GetServerInfo(ctx, &decoderv1.GetServerInfoRequest{})
	if err != nil {
		return nil, errorOf(err)
	}
	return serverInfoOf(reply), nil
}

// stored makes a call whose files are stored, with a context that has the key of the request. If the service has
// evicted an image meanwhile, stored uploads it once more and repeats the call.
func (c *Client) stored(
	ctx context.Context, request Request, call func(context.Context, *decoderv1.GenerateRequest) error,
) error {
	draft, err := newDraft(request)
	if err != nil {
		return err
	}
	for again := false; ; again = true {
		for _, u := range draft.uploads {
			if _, err := keep(ctx, c, u); err != nil {
				return aboutImage(err, u.source.file())
			}
		}
		err := call(withKey(ctx, keyOf(draft.request)), draft.request)
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Reason != ReasonImageNotStored || again || draft.uploads[failed.Metadata["digest"]] == nil {
			return draft.named(err)
		}
	}
}

// open starts a stream and waits for its first message. Until then a missing image can still be stored.
func (c *Client) open(ctx context.Context, request Request) (
	stream grpc.ServerStreamingClient[decoderv1.GenerateResponse], first *decoderv1.GenerateResponse, err error,
) {
	err = c.stored(ctx, request, func(ctx context.Context, sent *decoderv1.GenerateRequest) (err error) {
		if stream, err = c.stub.Generate(ctx, sent); err == nil {
			first, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) {
			return err
		}
		return errorOf(err)
	})
	return stream, first, err
}

// ended waits until a stream has ended with OK.
func ended(stream grpc.ServerStreamingClient[decoderv1.GenerateResponse]) error {
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (c *Client) describe(ctx context.Context, id string) (Stored, error) {
	reply, err := c.stub.DescribeImage(withKey(ctx, id), &decoderv1.DescribeImageRequest{Digest: id})
	if err != nil {
		return Stored{}, errorOf(err)
	}
	return storedOf(reply, true), nil
}

func (c *Client) send(ctx context.Context, u *upload, whole bool) (Stored, error) {
	stream, err := c.stub.PutImage(withKey(ctx, u.id))
	if err != nil {
		return Stored{}, errorOf(err)
	}
	header := &decoderv1.PutImageHeader{Digest: u.id, ByteSize: u.announced()}
	reply, err := sendPieces(stream, u, whole, &decoderv1.PutImageRequest{Header: header},
		func(piece []byte) *decoderv1.PutImageRequest { return &decoderv1.PutImageRequest{Data: piece} })
	if err != nil {
		return Stored{}, err
	}
	return storedOf(reply, reply.AlreadyStored), nil
}
