package fovea

import (
	"strings"
	"time"

	visionv1 "fovea.dev/go/fovea/vision/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Facts are what a service knows of a stored image.
type Facts struct {
	// ID is `sha256:` and the hexadecimal SHA-256 of the file.
	ID string
	// PixelDigest is that of the pixels as a viewer shows them; two files with equal pixels share it.
	PixelDigest string
	// Format is jpeg, png, webp or gif.
	Format string
	// Bytes is the length of the file.
	Bytes int
	// Size is that of the picture as a viewer shows it, after the EXIF orientation was applied.
	Size Size
	// Orientation is the EXIF orientation that was applied, 1 to 8; 1 changes nothing.
	Orientation int
	// HadAlpha is true where transparent pixels were laid on white.
	HadAlpha bool
	// TextHeight is that of the smallest common text in pixels of Size; 0 where no text was found.
	TextHeight float64
	// EdgeDensity is the share of pixels at which the brightness changes sharply, UniformShare that of squares of 32x32
	// pixels that are all equal; both 0 to 1.
	EdgeDensity, UniformShare float64
	// Kind is text, graphic or photo; empty where it is not known.
	Kind string
}

// Stored is an image that a service holds.
type Stored struct {
	// Facts are what is known of it.
	Facts Facts
	// AlreadyStored is true where no bytes had to be sent.
	AlreadyStored bool
	// Expires is until when it is kept; putting it again renews it. A full store may let it go earlier.
	Expires time.Time
	// Encoder is the address of the encoder that holds it; empty from an encoder itself.
	Encoder string
}

func factsOf(m *visionv1.ImageFacts) Facts {
	return Facts{
		ID:          m.GetDigest(),
		PixelDigest: m.GetPixelDigest(),
		Format:      plainName(m.GetFormat().String(), "IMAGE_FORMAT_"),
		Bytes:       int(m.GetByteSize()),
		Size:        sizeOf(m.GetSize()),
		Orientation: int(m.GetExifOrientation()),
		HadAlpha:    m.GetHadAlpha(),

		TextHeight:   float64(m.GetTextHeight()),
		EdgeDensity:  float64(m.GetEdgeDensity()),
		UniformShare: float64(m.GetUniformShare()),
		Kind:         wordOf[string](int32(m.GetKind()), visionv1.ImageKind_name),
	}
}

// storedReply is the answer of either service to PutImage or DescribeImage.
type storedReply interface {
	GetFacts() *visionv1.ImageFacts
	GetExpireTime() *timestamppb.Timestamp
}

func storedOf(m storedReply, already bool) Stored {
	stored := Stored{Facts: factsOf(m.GetFacts()), AlreadyStored: already, Expires: m.GetExpireTime().AsTime()}
	if decoder, ok := m.(interface{ GetEncoder() string }); ok {
		stored.Encoder = decoder.GetEncoder()
	}
	return stored
}

// plainName turns the name of an enum's value into the word that receipts and logs use: ROW_SOURCE_ROWS to rows.
func plainName(name, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}
