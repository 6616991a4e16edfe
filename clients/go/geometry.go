package fovea

import (
	"fmt"
	"math"
	"math/big"

	"google.golang.org/grpc/codes"
)

// DefaultMaxPixels is the MaxPixels of a request that has none: 1,280 tokens.
const DefaultMaxPixels = 1_310_720

// maxAspect is the largest ratio of sides that the processor of Qwen3-VL accepts.
const maxAspect = 200

// A Size is in pixels.
type Size struct{ Width, Height int }

// In a message a Size replaces an image that has not been sent. Only [Client.CountTokens] accepts it.
func (Size) part() {}

// String is for instance 1600x1200.
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.Width, s.Height) }

func (s Size) pixels() int { return s.Width * s.Height }

// A Grid is the patch grid of a planned image: temporal patches, rows, columns.
type Grid struct{ T, H, W int }

// A Plan is the size of an image after a single resize, its grid of patches, and its cost.
type Plan struct {
	Size    Size
	Grid    Grid
	Patches int
	Tokens  int
}

// A Geometry turns the size of an image into visual tokens, as the image processor of Qwen3-VL does. A token is
// a square of Merge x Merge patches, so 32 x 32 pixels: patches are four times as many.
type Geometry struct {
	// Patch is the side of a patch in pixels, Merge the side of a token in patches.
	Patch, Merge int
	// MinPixels is the smallest size, to which smaller images are enlarged. MaxPixels is the largest size.
	MinPixels, MaxPixels int
}

// Published is the geometry of every published Qwen3-VL checkpoint.
var Published = Geometry{Patch: 16, Merge: 2, MinPixels: 65_536, MaxPixels: 16_777_216}

// Plan plans an image of the given size, as a viewer shows it. maxPixels lowers the geometry's own limit and never
// raises it; 0 keeps it. It bounds the cost, except if a side is shorter than a token, which still gets a token,
// and if the image is enlarged to MinPixels.
func (g Geometry) Plan(size Size, maxPixels int) (Plan, error) {
	if maxPixels < 0 {
		return Plan{}, invalid("max_pixels", "must be at least 1")
	}
	if err := checkSize(size); err != nil {
		return Plan{}, err
	}
	limit := g.MaxPixels
	if maxPixels > 0 {
		limit = min(limit, maxPixels)
	}
	planned := g.resize(size, limit)
	grid := Grid{1, planned.Height / g.Patch, planned.Width / g.Patch}
	patches := grid.H * grid.W
	return Plan{planned, grid, patches, patches / (g.Merge * g.Merge)}, nil
}

// Limit combines bounds on pixels and sides into a single maxPixels for Plan. 0 is no bound, and a bound that the
// image already meets changes nothing. Never below MinPixels, to which Plan enlarges.
//
// A bound on a side is a pixel more than the exact product, because Plan rounds down to whole tokens: a side just
// below its bound would lose a token.
func (g Geometry) Limit(size Size, maxPixels, maxShortSide, maxLongSide int) (int, error) {
	if min(maxPixels, maxShortSide, maxLongSide) < 0 {
		return 0, invalid("limits", "must be at least 0")
	}
	if err := checkSize(size); err != nil {
		return 0, err
	}
	limit := g.MaxPixels
	if maxPixels > 0 {
		limit = min(limit, maxPixels)
	}
	short, long := min(size.Width, size.Height), max(size.Width, size.Height)
	if 0 < maxShortSide && maxShortSide < short {
		limit = min(limit, scaledPixels(size, maxShortSide, short)+1)
	}
	if 0 < maxLongSide && maxLongSide < long {
		limit = min(limit, scaledPixels(size, maxLongSide, long)+1)
	}
	return g.within(limit), nil
}

// LargestFitting is the largest maxPixels whose plan costs at most this many tokens. False if there is none. Below
// the image's own rounded size the cost never falls as maxPixels grows, so bisection locates the edge.
func (g Geometry) LargestFitting(size Size, tokens int) (int, bool, error) {
	whole, err := g.Plan(size, 0)
	if err != nil {
		return 0, false, err
	}
	if whole.Tokens <= tokens {
		return g.MaxPixels, true, nil
	}
	cell := float64(g.Patch * g.Merge)
	own := math.RoundToEven(float64(size.Width)/cell) * math.RoundToEven(float64(size.Height)/cell) * cell * cell
	fits, exceeds := 0, int(min(own, float64(g.MaxPixels)))
	for exceeds-fits > 1 {
		middle := (fits + exceeds) / 2
		if p := g.resize(size, middle); p.pixels()/(g.Patch*g.Merge)/(g.Patch*g.Merge) <= tokens {
			fits = middle
		} else {
			exceeds = middle
		}
	}
	return fits, fits > 0, nil
}

// within clamps maxPixels to the checkpoint's own limits.
func (g Geometry) within(maxPixels int) int { return max(g.MinPixels, min(maxPixels, g.MaxPixels)) }

// scaledPixels is the number of pixels of an image whose side is scaled to bound, in integers of any size.
func scaledPixels(size Size, bound, side int) int {
	of := func(n int) *big.Int { return big.NewInt(int64(n)) }
	product := of(size.Width)
	for _, factor := range []int{size.Height, bound, bound} {
		product.Mul(product, of(factor))
	}
	product.Quo(product, new(big.Int).Mul(of(side), of(side)))
	if !product.IsInt64() {
		return math.MaxInt - 1
	}
	return int(min(product.Int64(), math.MaxInt-1))
}

// resize rounds the sides to multiples of a token, half to even. If that has too many pixels, it scales both by
// the same factor and rounds down; if too few, it scales and rounds up. From `smart_resize` of transformers.
func (g Geometry) resize(size Size, limit int) Size {
	cell := float64(g.Patch * g.Merge)
	width, height := float64(size.Width), float64(size.Height)
	newWidth, newHeight := math.RoundToEven(width/cell)*cell, math.RoundToEven(height/cell)*cell
	if newWidth*newHeight > float64(limit) {
		scale := math.Sqrt(width * height / float64(limit))
		newWidth = max(cell, math.Floor(width/scale/cell)*cell)
		newHeight = max(cell, math.Floor(height/scale/cell)*cell)
	} else if newWidth*newHeight < float64(g.MinPixels) {
		scale := math.Sqrt(float64(g.MinPixels) / (width * height))
		newWidth = math.Ceil(width*scale/cell) * cell
		newHeight = math.Ceil(height*scale/cell) * cell
	}
	return Size{int(newWidth), int(newHeight)}
}

func checkSize(size Size) error {
	short, long := min(size.Width, size.Height), max(size.Width, size.Height)
	if short < 1 {
		return invalid("size", fmt.Sprintf("must be at least 1x1, not %s", size))
	}
	if float64(long)/float64(short) > maxAspect {
		return refused(codes.InvalidArgument, ReasonImageAspectTooExtreme,
			"the image is %s: one side may be at most %d times the other", size, maxAspect)
	}
	return nil
}
