package fovea

import (
	"context"
	"crypto/sha256"
	"math"

	"google.golang.org/grpc"
)

// A PutOption configures [Client.Put] or [EncoderClient.Put].
type PutOption func(*upload)

// WithProgress calls heard after each piece, with the bytes sent so far and in total. A stored image is not sent,
// and heard is not called.
func WithProgress(heard func(sent, total int64)) PutOption {
	return func(u *upload) { u.heard = heard }
}

// upload is a file on its way to a service. If it changes between its two reads, the service refuses it, because
// its bytes no longer match the announced id.
type upload struct {
	source Source
	id     string
	size   int64
	heard  func(sent, total int64)
}

// newUpload reads the file for its id.
func newUpload(source Source, options ...PutOption) (*upload, error) {
	u := &upload{source: source, heard: func(int64, int64) {}}
	for _, option := range options {
		option(u)
	}
	hash := sha256.New()
	for piece, err := range source.pieces() {
		if err != nil {
			return nil, err
		}
		hash.Write(piece)
		u.size += int64(len(piece))
	}
	u.id = idOf(hash.Sum(nil))
	return u, nil
}

// announced is the size as the header encodes it. Services refuse far smaller files.
func (u *upload) announced() uint32 { return uint32(min(u.size, math.MaxUint32)) }

// shelf is a service that stores images: decoder or encoder.
type shelf interface {
	describe(ctx context.Context, id string) (Stored, error)
	// send uploads a file. If whole is false, it sends only the id, for a stored image.
	send(ctx context.Context, u *upload, whole bool) (Stored, error)
}

// keep stores a file unless it is stored already.
func keep(ctx context.Context, s shelf, u *upload) (Stored, error) {
	stored, err := s.describe(ctx, u.id)
	if ReasonOf(err) == ReasonImageNotStored {
		return s.send(ctx, u, true)
	}
	return stored, err
}

// put is keep for a caller who wants to renew the expiry of a stored image.
func put(ctx context.Context, s shelf, source Source, options []PutOption) (Stored, error) {
	if source.kind == ofID {
		return s.describe(ctx, source.name)
	}
	u, err := newUpload(source, options...)
	if err != nil {
		return Stored{}, err
	}
	stored, err := keep(ctx, s, u)
	if err != nil || !stored.AlreadyStored {
		return stored, aboutImage(err, source.file())
	}
	renewed, err := s.send(ctx, u, false)
	if ReasonOf(err) == ReasonDigestMismatch { // it went meanwhile, and the service waited for its bytes
		return s.send(ctx, u, true)
	}
	return renewed, err
}

// sendPieces sends the messages of a PutImage call of either service and returns the response. A service may
// respond before everything was sent: it then holds the image, or refuses it.
func sendPieces[Q, R any](
	stream grpc.ClientStreamingClient[Q, R], u *upload, whole bool, header *Q, message func(piece []byte) *Q,
) (*R, error) {
	if err := stream.Send(header); err == nil && whole {
		sent := int64(0)
		for piece, err := range u.source.pieces() {
			if err != nil {
				return nil, err // the caller's cancel ends the call
			}
			if stream.Send(message(piece)) != nil {
				break // CloseAndRecv tells why
			}
			sent += int64(len(piece))
			u.heard(sent, u.size)
		}
	}
	reply, err := stream.CloseAndRecv()
	return reply, errorOf(err)
}
