package fovea

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// A Budget is what the images of a request may cost. Every field's zero value is the service's choice.
type Budget struct {
	// MaxPixels shrinks each image to at most this many pixels.
	MaxPixels int
	// MaxVisualTokens bounds the visual tokens of the whole request.
	MaxVisualTokens int
	// Detail says how much of each image matters, MinDetail what remains of it when the service is near a limit.
	Detail, MinDetail Detail
	// OnOverBudget says what happens to images that do not fit MaxVisualTokens.
	OnOverBudget OnOverBudget
	// RepeatPolicy says what happens to an image that stands in the request twice.
	RepeatPolicy RepeatPolicy
	// Reduction says how visual tokens are reduced after the vision tower.
	Reduction Reduction
	// MinTokens are left to each image by MaxVisualTokens, unless it has fewer.
	MinTokens int
	// MaxShortSide and MaxLongSide bound the sides of each image, in pixels.
	MaxShortSide, MaxLongSide int
}

// A Reduction says which visual tokens are left out.
type Reduction struct {
	// Keep is the share to keep, above 0 and up to 1. Not beside a Mode.
	Keep float64
	// Mode says how much to keep, Reducer which.
	Mode    ReductionMode
	Reducer Reducer
	// FlatTolerance leaves squares of one colour out whose values differ by at most this: new(uint32(0)) for those
	// of exactly one colour.
	FlatTolerance *uint32
	// NearRepeats is the share to keep of images that follow each other as in a video, above 0 and up to 1.
	NearRepeats float64
}

// A Detail is how much of an image matters.
type Detail string

// The details.
const (
	// DetailLow is the least.
	DetailLow Detail = "low"
	// DetailHigh is all that is there, up to MaxPixels.
	DetailHigh Detail = "high"
	// DetailAuto is the smallest size at which text stays readable.
	DetailAuto Detail = "auto"
)

// OnOverBudget is what happens to images that do not fit.
type OnOverBudget string

// What happens to them.
const (
	// OverBudgetFit shrinks them until they fit.
	OverBudgetFit OnOverBudget = "fit"
	// OverBudgetRefuse refuses them with [ReasonVisualBudgetExceeded].
	OverBudgetRefuse OnOverBudget = "refuse"
)

// A RepeatPolicy is what happens to an image that stands in a request twice.
type RepeatPolicy string

// The policies.
const (
	// RepeatKeep keeps its tokens in each place.
	RepeatKeep RepeatPolicy = "keep"
	// RepeatReference puts a reference in the text in place of later copies.
	RepeatReference RepeatPolicy = "reference"
)

// A ReductionMode is how many tokens are kept.
type ReductionMode string

// The modes.
const (
	// ReductionOff keeps all.
	ReductionOff ReductionMode = "off"
	// ReductionEconomy keeps three quarters.
	ReductionEconomy ReductionMode = "economy"
	// ReductionStrong keeps half.
	ReductionStrong ReductionMode = "strong"
	// ReductionAuto keeps what adds something, image by image.
	ReductionAuto ReductionMode = "auto"
)

// A Reducer says which tokens are kept.
type Reducer string

// The reducers.
const (
	// ReducerResize makes the image smaller until it has as many tokens.
	ReducerResize Reducer = "resize"
	// ReducerScope goes by attention, and by what a token adds to those kept.
	ReducerScope Reducer = "scope"
	// ReducerDivPrune goes by how different a token is from those kept.
	ReducerDivPrune Reducer = "divprune"
	// ReducerStride keeps tokens evenly over the image.
	ReducerStride Reducer = "stride"
	// ReducerRandom keeps tokens at random, the same for every image of a size.
	ReducerRandom Reducer = "random"
)

// limit is the maxPixels at which an image of this size is planned, as far as its size alone tells: the tokens of a
// request may all go to one image. Where not even the fewest pixels fit, it is for the service to refuse.
func (b Budget) limit(size Size, g Geometry) (int, error) {
	limit, err := g.Limit(size, cmp.Or(b.MaxPixels, DefaultMaxPixels), b.MaxShortSide, b.MaxLongSide)
	if err != nil || b.MaxVisualTokens == 0 {
		return limit, err
	}
	fitting, _, err := g.LargestFitting(size, max(b.MaxVisualTokens, b.MinTokens))
	return g.within(min(limit, fitting)), err
}

func (b Budget) message() (*decoderv1.VisualBudget, error) {
	var w writer
	message := &decoderv1.VisualBudget{
		MaxPixels:       unlessZero(w.count("visual.max_pixels", b.MaxPixels)),
		MaxVisualTokens: w.count("visual.max_visual_tokens", b.MaxVisualTokens),
		Detail:          decoderv1.Detail(w.word("visual.detail", string(b.Detail), decoderv1.Detail_value)),
		MinDetail:       decoderv1.Detail(w.word("visual.min_detail", string(b.MinDetail), decoderv1.Detail_value)),
		OnOverBudget: decoderv1.OnOverBudget(
			w.word("visual.on_over_budget", string(b.OnOverBudget), decoderv1.OnOverBudget_value)),
		RepeatPolicy: decoderv1.RepeatPolicy(
			w.word("visual.repeat_policy", string(b.RepeatPolicy), decoderv1.RepeatPolicy_value)),
		MinTokens:    w.count("visual.min_tokens", b.MinTokens),
		MaxShortSide: w.count("visual.max_short_side", b.MaxShortSide),
		MaxLongSide:  w.count("visual.max_long_side", b.MaxLongSide),
	}
	if b.Reduction != (Reduction{}) {
		message.Reduction = w.reduction(b.Reduction)
	}
	return message, w.err
}

// writer writes the fields of a budget, and keeps what was first wrong with one.
type writer struct{ err error }

func (w *writer) reduction(r Reduction) *decoderv1.Reduction {
	return &decoderv1.Reduction{
		Keep: unlessZero(float32(r.Keep)),
		Mode: decoderv1.ReductionMode(
			w.word("visual.reduction.mode", string(r.Mode), decoderv1.ReductionMode_value)),
		Reducer:       visionv1.Reducer(w.word("visual.reduction.reducer", string(r.Reducer), visionv1.Reducer_value)),
		FlatTolerance: r.FlatTolerance,
		NearRepeats:   unlessZero(float32(r.NearRepeats)),
	}
}

func (w *writer) count(field string, n int) uint32 {
	count, err := count32(field, n)
	w.err = cmp.Or(w.err, err)
	return count
}

// word is the number of a word in an enum of the contract, whose names all begin alike.
func (w *writer) word(field, word string, numbers map[string]int32) int32 {
	if word == "" {
		return 0
	}
	known := make([]string, 0, len(numbers))
	prefix := prefixOf(numbers)
	for name := range numbers {
		if plain := plainName(name, prefix); plain != "unspecified" {
			known = append(known, plain)
		}
	}
	number, ok := numbers[prefix+strings.ToUpper(word)]
	if !ok || number == 0 {
		slices.Sort(known)
		wrong := invalid(field, fmt.Sprintf("must be one of %v, not %q", known, word))
		w.err = cmp.Or(w.err, error(wrong))
	}
	return number
}

// prefixOf is DETAIL_ of DETAIL_UNSPECIFIED, the name of every enum's 0.
func prefixOf(numbers map[string]int32) string {
	for name, number := range numbers {
		if number == 0 {
			return strings.TrimSuffix(name, "UNSPECIFIED")
		}
	}
	return ""
}

// wordOf is the word of a value of an enum; empty where it is not set, or not known here.
func wordOf[W ~string](number int32, names map[int32]string) W {
	if number == 0 {
		return ""
	}
	return W(plainName(names[number], strings.TrimSuffix(names[0], "UNSPECIFIED")))
}

func budgetOf(m *decoderv1.VisualBudget) Budget {
	r := m.GetReduction()
	budget := Budget{
		MaxPixels:       int(m.GetMaxPixels()),
		MaxVisualTokens: int(m.GetMaxVisualTokens()),
		Detail:          wordOf[Detail](int32(m.GetDetail()), decoderv1.Detail_name),
		MinDetail:       wordOf[Detail](int32(m.GetMinDetail()), decoderv1.Detail_name),
		OnOverBudget:    wordOf[OnOverBudget](int32(m.GetOnOverBudget()), decoderv1.OnOverBudget_name),
		RepeatPolicy:    wordOf[RepeatPolicy](int32(m.GetRepeatPolicy()), decoderv1.RepeatPolicy_name),
		MinTokens:       int(m.GetMinTokens()),
		MaxShortSide:    int(m.GetMaxShortSide()),
		MaxLongSide:     int(m.GetMaxLongSide()),
		Reduction: Reduction{
			Keep:        float64(r.GetKeep()),
			Mode:        wordOf[ReductionMode](int32(r.GetMode()), decoderv1.ReductionMode_name),
			Reducer:     wordOf[Reducer](int32(r.GetReducer()), visionv1.Reducer_name),
			NearRepeats: float64(r.GetNearRepeats()),
		},
	}
	if r != nil {
		budget.Reduction.FlatTolerance = r.FlatTolerance
	}
	return budget
}
