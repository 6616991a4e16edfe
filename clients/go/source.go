package fovea

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"os"
	"slices"
)

// A Source is an image of a message: a file, bytes in memory, or the id of an image that is stored.
// It is a [Part].
type Source struct {
	kind kind
	name string // a path or an id
	data []byte
}

type kind int

const (
	ofBytes kind = iota
	ofFile
	ofID
	ofInline
)

func (Source) part() {}

// File is an image file. It is read when it is used: once for its id, and again if it must be sent.
func File(path string) Source { return Source{kind: ofFile, name: path} }

// Bytes is an image file in memory. The bytes must not change while a call uses them.
func Bytes(data []byte) Source { return Source{kind: ofBytes, data: data} }

// Inline is an image file in memory that is sent with the request, without checking first whether the service
// holds it. It saves a round trip and sends all bytes every time. Use it for small images with a single question.
func Inline(data []byte) Source { return Source{kind: ofInline, data: data} }

// Image is a stored image, by its id `sha256:<hex>`. If it is gone, the call fails with [ReasonImageNotStored].
func Image(id string) Source { return Source{kind: ofID, name: id} }

// file is the path of a [File], otherwise empty.
func (s Source) file() string {
	if s.kind == ofFile {
		return s.name
	}
	return ""
}

// ID is the public id of an image file: `sha256:` and the lower-case hexadecimal SHA-256 of its bytes.
func ID(data []byte) string {
	sum := sha256.Sum256(data)
	return idOf(sum[:])
}

func idOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// pieceBytes is the size of the pieces in which files are read and sent.
const pieceBytes = 1 << 20

// pieces reads the file. A piece does not change after it was returned.
func (s Source) pieces() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if s.kind != ofFile {
			for piece := range slices.Chunk(s.data, pieceBytes) {
				if !yield(piece, nil) {
					return
				}
			}
			return
		}
		file, err := os.Open(s.name)
		if err != nil {
			yield(nil, err)
			return
		}
		defer file.Close()
		for {
			piece := make([]byte, pieceBytes)
			n, err := io.ReadFull(file, piece)
			if n > 0 && !yield(piece[:n], nil) {
				return
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}
