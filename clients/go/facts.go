package fovea

import (
	"strings"
	"time"

	visionv1 "fovea.dev/go/fovea/vision/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Facts are the facts of a stored image, measured once at upload.
type Facts struct {
	// ID is `sha256:` and the hexadecimal SHA-256 of the file.
	ID string
	// PixelDigest identifies the pixels as a viewer shows them. Files with equal pixels share it.
	PixelDigest string
	// Format is jpeg, png, webp or gif.
	Format string
	// Bytes is the length of the file.
	Bytes int
	// Size is the size as a viewer shows the picture, with the EXIF orientation applied.
	Size Size
	// Orientation is the EXIF orientation that was applied, 1 to 8; 1 changes nothing.
	Orientation int
	// HadAlpha is true if the image had transparency. It is composited on white.
	HadAlpha bool
	// TextHeight is the height of the smallest common text in pixels of Size. 0 if no text was detected.
	TextHeight float64
	// EdgeDensity is the share of pixels on an edge. UniformShare is the share of uniform patches of 32x32 pixels.
	// Both are 0 to 1.
	EdgeDensity, UniformShare float64
	// Kind is text, graphic, photo, blank, chart, table or drawing. Empty if unknown.
	Kind string
	// KindConfidence is the confidence of the learned gate in Kind, 0 to 1. 0 if rules decided it.
	KindConfidence float64
}

// Stored is an image that a service holds.
type Stored struct {
	// Facts are the facts of the image.
	Facts Facts
	// AlreadyStored is true if no bytes were sent.
	AlreadyStored bool
	// Expires is when the image expires. Putting it again renews it. A full store may evict it earlier.
	Expires time.Time
	// Encoder is the address of the encoder that holds it. Empty if an encoder itself responded.
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

		KindConfidence: float64(m.GetKindConfidence()),
	}
}

// storedReply is the response of either service to PutImage or DescribeImage.
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

// plainName converts the name of an enum value to the word on receipts and in logs: ROW_SOURCE_ROWS to rows.
func plainName(name, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}
