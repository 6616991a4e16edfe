package fovea

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
)

// noise is a picture that does not compress; another seed is another picture.
func noise(width, height int, seed uint64) *image.RGBA {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	source.Read(picture.Pix)
	for at := 3; at < len(picture.Pix); at += 4 {
		picture.Pix[at] = 255
	}
	return picture
}

// slope is a picture without edges, as large as asked for and quickly encoded.
func slope(width, height int) *image.RGBA {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.SetRGBA(x, y, color.RGBA{uint8(x * 255 / width), uint8(y * 255 / height), uint8((x + y) * 255 / (width + height)), 255})
		}
	}
	return picture
}

// corners has red, green, blue and white quarters: top left, top right, bottom left, bottom right.
func corners(width, height int) *image.RGBA {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.Set(x, y, cornerColours[2*(2*y/height)+2*x/width])
		}
	}
	return picture
}

var cornerColours = []color.RGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}}

// flat is a large picture in a small file.
func flat(width, height int) []byte {
	return pngOf(image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.White, color.Black}))
}

func pngOf(picture image.Image) []byte {
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, picture); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func jpegOf(picture image.Image) []byte {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, picture, &jpeg.Options{Quality: 95}); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func gifOf(picture image.Image) []byte {
	var out bytes.Buffer
	if err := gif.Encode(&out, picture, nil); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// tiffOf is a TIFF block whose one entry is the orientation.
func tiffOf(order binary.AppendByteOrder, orientation uint16) []byte {
	block := []byte("II\x2a\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		block = []byte("MM\x00\x2a")
	}
	block = order.AppendUint32(block, 8)
	block = order.AppendUint16(block, 1)
	block = order.AppendUint16(block, 0x0112)
	block = order.AppendUint16(block, 3)
	block = order.AppendUint32(block, 1)
	block = order.AppendUint16(block, orientation)
	return append(block, 0, 0, 0, 0, 0, 0)
}

// withExif puts a segment of EXIF behind the first two bytes of a JPEG.
func withExif(file, tiff []byte) []byte {
	return withSegment(file, append([]byte("Exif\x00\x00"), tiff...))
}

func withSegment(file, body []byte) []byte {
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+len(body)))
	return bytes.Join([][]byte{file[:2], segment, body, file[2:]}, nil)
}

// withPNGExif puts a chunk of EXIF behind the header of a PNG.
func withPNGExif(file, tiff []byte) []byte { return withPNGChunk(file, "eXIf", tiff) }

func withPNGChunk(file []byte, kind string, body []byte) []byte {
	const header = 8 + 12 + 13
	chunk := append([]byte(kind), body...)
	framed := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	framed = append(framed, chunk...)
	framed = binary.BigEndian.AppendUint32(framed, crc32.ChecksumIEEE(chunk))
	return bytes.Join([][]byte{file[:header], framed, file[header:]}, nil)
}

// withPNGText puts a text chunk before the pixels.
func withPNGText(file []byte, kind, key string, text []byte) []byte {
	return withPNGChunk(file, kind, append([]byte(key+"\x00"), text...))
}

// deflated is a zlib stream.
func deflated(text []byte) []byte {
	var out bytes.Buffer
	writer := zlib.NewWriter(&out)
	writer.Write(text)
	writer.Close()
	return out.Bytes()
}

// progressive is a grey JPEG of one colour whose scans send these bands (first, last, low bit) of its coefficients.
func progressive(width, height int, bands ...[3]byte) []byte {
	segment := func(marker byte, body ...byte) []byte {
		return append([]byte{0xff, marker, byte((len(body) + 2) >> 8), byte(len(body) + 2)}, body...)
	}
	file := append([]byte{0xff, 0xd8}, segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)...)
	file = append(file, segment(0xc2, 8, byte(height>>8), byte(height), byte(width>>8), byte(width), 1, 1, 0x11, 0)...)
	for _, class := range []byte{0x00, 0x10} {
		// One code, a bit long: the difference 0, and the end of a block.
		file = append(file, segment(0xc4, append([]byte{class, 1}, make([]byte, 16)...)...)...)
	}
	blocks := (width + 7) / 8 * ((height + 7) / 8)
	for _, band := range bands {
		file = append(file, segment(0xda, 1, 1, 0, band[0], band[1], band[2])...)
		file = append(file, make([]byte, (blocks+7)/8)...)
	}
	return append(file, 0xff, 0xd9)
}
