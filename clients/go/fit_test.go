package fovea

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func decoded(t *testing.T, file []byte) image.Image {
	t.Helper()
	_, format, err := decodeConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := decode(file, format)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func sizeOfPicture(picture image.Image) Size {
	return Size{picture.Bounds().Dx(), picture.Bounds().Dy()}
}

func TestTheFittedSizeCostsTheSameAndIsNeverLarger(t *testing.T) {
	var vectors planVectors
	readVectors(t, "geometry.json", &vectors)
	changed := 0
	for _, v := range vectors.Cases {
		if v.MaxPixels == 0 {
			continue // Fit always has a limit
		}
		size := Size{v.Width, v.Height}
		if v.MaxPixels < Published.MinPixels {
			continue // no image is planned smaller than that
		}
		fitted, shrinks := shrunk(size, Budget{MaxPixels: v.MaxPixels})
		if !shrinks {
			continue
		}
		changed++
		plan, err := Published.Plan(fitted, v.MaxPixels)
		if err != nil || max(plan.Tokens-v.Tokens, v.Tokens-plan.Tokens) > 1 {
			t.Errorf("%s at %d costs %d tokens, as %s %d (%v)", size, v.MaxPixels, v.Tokens, fitted, plan.Tokens, err)
		}
		if fitted.Width > size.Width || fitted.Height > size.Height || fitted == size {
			t.Errorf("%s became %s", size, fitted)
		}
	}
	if changed < 200 {
		t.Errorf("only %d of the sizes shrink", changed)
	}
}

func TestAPictureIsFittedToSidesAndTokens(t *testing.T) {
	file := pngOf(noise(1600, 1200, 8))
	for want, budget := range map[Size]Budget{
		{1024, 768}: {MaxShortSide: 768},
		{768, 576}:  {MaxShortSide: 768, MaxLongSide: 768},
		{576, 448}:  {MaxVisualTokens: 255, MaxShortSide: 768},
		{288, 192}:  {MaxVisualTokens: 1},
	} {
		plan, err := planned(Size{1600, 1200}, budget)
		if err != nil || plan.Size != want {
			t.Errorf("%+v plans %s, not %s (%v)", budget, plan.Size, want, err)
		}
		if size := sizeOfPicture(decoded(t, FitWithin(file, budget))); size != want && budget.MaxVisualTokens != 1 {
			t.Errorf("%+v fits to %s, not %s", budget, size, want)
		}
	}
}

// sides says which side of the upright picture the file's first row and first column are, by the words of EXIF.
var sides = map[int][2]string{
	1: {"top", "left"}, 2: {"top", "right"}, 3: {"bottom", "right"}, 4: {"bottom", "left"},
	5: {"left", "top"}, 6: {"right", "top"}, 7: {"right", "bottom"}, 8: {"left", "bottom"},
}

var opposite = map[string]string{"top": "bottom", "bottom": "top", "left": "right", "right": "left"}

func TestAFittedPictureStandsUpright(t *testing.T) {
	lying := jpegOf(corners(1200, 600))
	for orientation, side := range sides {
		var order binary.AppendByteOrder = binary.LittleEndian
		if orientation%2 == 0 {
			order = binary.BigEndian
		}
		fitted := FitBytes(withExif(lying, tiffOf(order, uint16(orientation))), 200_000)
		picture := decoded(t, fitted)
		size := sizeOfPicture(picture)
		if want := (Size{608, 288}); size != uprightSize(want, orientation) {
			t.Errorf("orientation %d: %s", orientation, size)
		}
		row, column := side[0], side[1]
		for corner, at := range [][2]string{{row, column}, {row, opposite[column]}, {opposite[row], column},
			{opposite[row], opposite[column]}} {
			x, y := size.Width/4, size.Height/4
			if at[0] == "right" || at[1] == "right" {
				x *= 3
			}
			if at[0] == "bottom" || at[1] == "bottom" {
				y *= 3
			}
			if got := picture.At(x, y); !near(got, cornerColours[corner]) {
				t.Errorf("orientation %d: the %s %s is %v, not %v", orientation, at[0], at[1], got, cornerColours[corner])
			}
		}
	}
}

// near allows for what JPEG loses.
func near(a, b color.Color) bool {
	ar, ag, ab, aa := a.RGBA()
	br, bg, bb, ba := b.RGBA()
	apart := func(a, b uint32) bool { return max(a, b)-min(a, b) > 0x0a00 }
	return !apart(ar, br) && !apart(ag, bg) && !apart(ab, bb) && !apart(aa, ba)
}

func TestAFittedPNGIsUprightAndKeepsItsTransparency(t *testing.T) {
	picture := image.NewNRGBA(image.Rect(0, 0, 1200, 600))
	copy(picture.Pix, noise(1200, 600, 3).Pix)
	for at := 3; at < len(picture.Pix); at += 4 {
		picture.Pix[at] = uint8(min(255, at/4%1200/4))
	}
	file := withPNGExif(pngOf(picture), tiffOf(binary.BigEndian, 6))
	fitted := decoded(t, FitBytes(file, 200_000))
	if size := sizeOfPicture(fitted); size != (Size{288, 608}) {
		t.Fatalf("it became %s", size)
	}
	// Turned a quarter to the right, what was left is above.
	for y, want := range map[int]uint32{2: 0, 300: 0x94, 600: 0xff} {
		if _, _, _, alpha := fitted.At(100, y).RGBA(); max(alpha>>8, want)-min(alpha>>8, want) > 6 {
			t.Errorf("at %d the alpha is %#x, not %#x", y, alpha>>8, want)
		}
	}
}

func TestGreyStaysGrey(t *testing.T) {
	grey := image.NewGray(image.Rect(0, 0, 800, 800))
	copy(grey.Pix, noise(800, 800, 4).Pix)
	for _, file := range [][]byte{jpegOf(grey), pngOf(grey)} {
		fitted := FitBytes(file, 300_000)
		if model := decoded(t, fitted).ColorModel(); model != color.GrayModel || len(fitted) >= len(file) {
			t.Errorf("%d bytes became %d of %v", len(file), len(fitted), model)
		}
	}
}

func TestWhatGainsNothingComesBackUnchanged(t *testing.T) {
	large := jpegOf(slope(1600, 1200))
	scan := pngOf(noise(900, 700, 7))
	profile := []byte("\nexif\n      26\n49492a0008000000010012010300010000000600000000000000\n")
	xmp := []byte("<x tiff:Orientation='6'/>")
	for name, c := range map[string]struct {
		file      []byte
		maxPixels int
	}{
		"a small picture":            {jpegOf(slope(640, 480)), 0},
		"a picture of the same size": {jpegOf(noise(512, 512, 1)), 0},
		"a picture that would grow":  {flat(1600, 1600), 300_000},
		"a picture too thin":         {pngOf(noise(8000, 40, 1)), 65_536},
		"a GIF":                      {gifOf(corners(800, 600)), 100_000},
		"a WebP":                     {[]byte("RIFF\x10\x00\x00\x00WEBPVP8 \x04\x00\x00\x00\x00\x00\x00\x00"), 0},
		"no picture":                 {[]byte("What is the total?"), 0},
		"nothing":                    {nil, 0},
		"a JPEG cut off":             {large[:len(large)/2], 0},
		"only a signature":           {[]byte("\xff\xd8\xff"), 0},
		"an orientation in XMP":      {withSegment(large, []byte("http://ns.adobe.com/xap/1.0/\x00tiff:Orientation=\"6\"")), 0},
		"XMP behind EXIF without one": {withSegment(withExif(large, tiffOf(binary.LittleEndian, 0)),
			[]byte("http://ns.adobe.com/xap/1.0/\x00tiff:Orientation=\"6\"")), 0},
		"a raw profile":              {withPNGText(scan, "tEXt", "Raw profile type exif", profile), 100_000},
		"a compressed raw profile":   {withPNGText(scan, "zTXt", "Raw profile type APP1", append([]byte{0}, deflated(profile)...)), 100_000},
		"compressed XMP":             {withPNGText(scan, "iTXt", "XML:com.adobe.xmp", append([]byte{1, 0, 0, 0}, deflated(xmp)...)), 100_000},
		"XMP that is not compressed": {withPNGText(scan, "iTXt", "XML:com.adobe.xmp", append([]byte{0, 0, 0, 0}, xmp...)), 100_000},
		"half of the scan":           {append(bytes.Clone(large[:len(large)/2]), 0xff, 0xd9), 0},
		"the first of two scans":     {progressive(1600, 1200, [3]byte{0, 0, 0}), 100_000},
		"scans without the last bit": {progressive(1600, 1200, [3]byte{0, 0, 0}, [3]byte{1, 63, 1}), 100_000},
	} {
		if fitted := FitBytes(bytes.Clone(c.file), c.maxPixels); !bytes.Equal(fitted, c.file) {
			t.Errorf("%s: %d bytes became %d", name, len(c.file), len(fitted))
		}
	}
}

func TestAProgressivePictureIsFittedWhereAllItsScansAreThere(t *testing.T) {
	whole := progressive(1600, 1200, [3]byte{0, 0, 0}, [3]byte{1, 5, 0}, [3]byte{6, 63, 0})
	if size := sizeOfPicture(decoded(t, FitBytes(whole, 100_000))); size == (Size{1600, 1200}) {
		t.Error("it did not shrink")
	}
}

func TestTheFirstPlaceWithAnOrientationDecides(t *testing.T) {
	lying := jpegOf(slope(1600, 1200))
	junk := withExif(withExif(lying, tiffOf(binary.BigEndian, 6)), []byte("XXXX\x00\x00\x00\x08"))
	withXMP := withPNGText(withPNGExif(pngOf(noise(900, 700, 7)), tiffOf(binary.BigEndian, 6)), "tEXt",
		"Raw profile type exif", nil)
	for name, file := range map[string][]byte{"jpeg": junk, "png": withXMP} {
		if orientation, ok := turned(file, name); orientation != 6 || !ok {
			t.Errorf("%s: orientation %d, %v", name, orientation, ok)
		}
	}
}

func TestDamagedExifIsNoOrientation(t *testing.T) {
	whole := tiffOf(binary.LittleEndian, 6)
	for _, tiff := range [][]byte{nil, whole[:7], whole[:9], whole[:15], tiffOf(binary.LittleEndian, 9),
		bytes.Replace(whole, []byte{8, 0, 0, 0}, []byte{0xff, 0xff, 0xff, 0xff}, 1)} {
		file := withExif(jpegOf(noise(64, 32, 1)), tiff)
		if orientation, ok := turned(file, "jpeg"); orientation != 1 || !ok {
			t.Errorf("%x is orientation %d, %v", tiff, orientation, ok)
		}
	}
}

func TestFitReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.jpg")
	if err := os.WriteFile(path, jpegOf(slope(1600, 1200)), 0o644); err != nil {
		t.Fatal(err)
	}
	source, err := Fit(path, 0)
	if err != nil || sizeOfPicture(decoded(t, source.data)) != (Size{1312, 960}) {
		t.Errorf("%d bytes, %v", len(source.data), err)
	}
	if _, err := Fit(path+".none", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

// The service counts what it counts for the original, and shows the fitted picture as it would have shown that.
func TestTheServiceCountsTheSameForAFittedPicture(t *testing.T) {
	client := dialHouse(t)
	ctx := context.Background()
	for _, c := range []struct {
		name      string
		file      []byte
		maxPixels int
	}{
		{"a photo on its side", withExif(jpegOf(slope(1800, 1350)), tiffOf(binary.BigEndian, 6)), 0},
		{"a scan", pngOf(noise(1000, 1400, 5)), 600_000},
		{"a screenshot", pngOf(noise(1600, 900, 6)), 0},
		{"a banner", jpegOf(slope(4000, 240)), 262_144},
	} {
		fitted := FitBytes(c.file, c.maxPixels)
		if len(fitted) >= len(c.file) {
			t.Errorf("%s did not shrink", c.name)
		}
		request := Question("?", Bytes(c.file), Bytes(fitted))
		request.MaxPixels = c.maxPixels
		count, err := client.CountTokens(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		original, small := count.Images[0], count.Images[1]
		if max(original.Tokens-small.Tokens, small.Tokens-original.Tokens) > 1 || original.Planned != small.Planned {
			t.Errorf("%s: %+v fitted is %+v", c.name, original, small)
		}
		if small.Original != original.Planned {
			t.Errorf("%s: the fitted picture is %s", c.name, small.Original)
		}
		stored, err := client.Describe(ctx, ID(fitted))
		if err != nil || stored.Facts.Orientation != 1 {
			t.Errorf("%s: %+v, %v", c.name, stored.Facts, err)
		}
	}
}
