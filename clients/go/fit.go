package fovea

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"

	"golang.org/x/image/draw"
)

const (
	// fitQuality is that of the JPEGs that Fit writes.
	fitQuality = 92
	// mostDecoded bounds the memory that Fit takes.
	mostDecoded = 100_000_000
)

// Fit reads an image file and shrinks it as [FitBytes] does.
func Fit(path string, maxPixels int) (Source, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Source{}, err
	}
	return Bytes(FitBytes(data, maxPixels)), nil
}

// FitBytes shrinks an image file to the size that a service would plan for it: fewer bytes, the same cost.
// maxPixels is the MaxPixels of the request; 0 is [DefaultMaxPixels]. [FitWithin] takes the whole budget of a
// request. A JPEG stays a JPEG, and a PNG stays a PNG with its transparency. The result is upright and has neither
// EXIF nor a colour profile, which services ignore too.
//
// The file is returned unchanged if nothing is gained: it is small enough, the shrunk file would have as many
// bytes or another cost, or it cannot be decoded here, which the service will report. WebP and GIF are never
// changed, because Go cannot write WebP and both usually grow as PNG.
//
// The result has another id than the original. Fit a picture always or never; otherwise its rows are computed
// twice.
func FitBytes(data []byte, maxPixels int) []byte {
	return FitWithin(data, Budget{MaxPixels: max(maxPixels, 0)})
}

// FitWithin shrinks an image file as [FitBytes] does, to the pixels, sides and tokens that a budget allows. Detail
// and Reduction still apply to the shrunk picture.
func FitWithin(data []byte, budget Budget) []byte {
	config, format, err := decodeConfig(data)
	if err != nil {
		return data
	}
	orientation, ok := turned(data, format)
	lying := Size{config.Width, config.Height}
	target, shrinks := shrunk(uprightSize(lying, orientation), budget)
	if !ok || !shrinks || lying.pixels() > mostDecoded || !complete(data, format) {
		return data
	}
	picture, err := decode(data, format)
	if err != nil {
		return data
	}
	small := upright(resample(picture, uprightSize(target, orientation)), orientation)
	var out bytes.Buffer
	if format == "jpeg" {
		err = jpeg.Encode(&out, small, &jpeg.Options{Quality: fitQuality})
	} else {
		err = png.Encode(&out, small)
	}
	if err != nil || out.Len() >= len(data) {
		return data
	}
	return out.Bytes()
}

// shrunk is the planned size of a picture, if it is smaller and a service would plan the same size for it again.
func shrunk(size Size, budget Budget) (Size, bool) {
	plan, err := planned(size, budget)
	if err != nil || plan.Size == size || plan.Size.Width > size.Width || plan.Size.Height > size.Height {
		return size, false
	}
	again, err := planned(plan.Size, budget)
	return plan.Size, err == nil && again.Size == plan.Size
}

// planned is the size that a service plans for an image within a budget, as far as the size determines it.
func planned(size Size, budget Budget) (Plan, error) {
	limit, err := budget.limit(size, Published)
	if err != nil {
		return Plan{}, err
	}
	return Published.Plan(size, limit)
}

var signatures = map[string]string{"jpeg": "\xff\xd8\xff", "png": "\x89PNG\r\n\x1a\n"}

func decodeConfig(data []byte) (image.Config, string, error) {
	for format, signature := range signatures {
		if !bytes.HasPrefix(data, []byte(signature)) {
			continue
		}
		read := jpeg.DecodeConfig
		if format == "png" {
			read = png.DecodeConfig
		}
		config, err := read(bytes.NewReader(data))
		return config, format, err
	}
	return image.Config{}, "", image.ErrFormat
}

// complete reports whether a file holds its whole picture, as far as the decoders do not check.
func complete(data []byte, format string) bool {
	if format != "jpeg" {
		return true
	}
	segments, ok := jpegSegments(data)
	return ok && allCoefficients(segments)
}

func decode(data []byte, format string) (image.Image, error) {
	if format == "jpeg" {
		return jpeg.Decode(bytes.NewReader(data))
	}
	return png.Decode(bytes.NewReader(data))
}

func resample(picture image.Image, size Size) draw.Image {
	small := blank(picture.ColorModel(), size)
	draw.CatmullRom.Scale(small, small.Bounds(), picture, picture.Bounds(), draw.Src, nil)
	return small
}

// blank keeps grey pictures grey, which takes a third of the bytes.
func blank(model color.Model, size Size) draw.Image {
	bounds := image.Rect(0, 0, size.Width, size.Height)
	if model == color.GrayModel || model == color.Gray16Model {
		return image.NewGray(bounds)
	}
	return image.NewRGBA(bounds)
}

// uprightSize converts between the size before and after turning. It is its own inverse.
func uprightSize(size Size, orientation int) Size {
	if orientation >= 5 {
		return Size{size.Height, size.Width}
	}
	return size
}

// upright applies the EXIF orientation of a picture.
func upright(lying draw.Image, orientation int) draw.Image {
	if orientation == 1 {
		return lying
	}
	width, height := lying.Bounds().Dx(), lying.Bounds().Dy()
	size := uprightSize(Size{width, height}, orientation)
	standing := blank(lying.ColorModel(), size)
	for y := range size.Height {
		for x := range size.Width {
			from := origin(x, y, width-1, height-1, orientation)
			standing.Set(x, y, lying.At(from.X, from.Y))
		}
	}
	return standing
}

// origin maps a pixel of the upright picture to the file, whose last column and row are right and bottom.
func origin(x, y, right, bottom, orientation int) image.Point {
	switch orientation {
	case 2:
		return image.Pt(right-x, y)
	case 3:
		return image.Pt(right-x, bottom-y)
	case 4:
		return image.Pt(x, bottom-y)
	case 5:
		return image.Pt(y, x)
	case 6:
		return image.Pt(y, bottom-x)
	case 7:
		return image.Pt(right-y, bottom-x)
	case 8:
		return image.Pt(right-y, x)
	}
	return image.Pt(x, y)
}
