package fovea

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// A Budget bounds the cost of a request's images. A zero field takes the service's default.
type Budget struct {
	// MaxPixels is the most pixels of each image; larger images are resized.
	MaxPixels int
	// MaxVisualTokens bounds the visual tokens of the whole request.
	MaxVisualTokens int
	// Detail is how much detail of each image matters. MinDetail is the least detail when the service is under
	// load.
	Detail, MinDetail Detail
	// OnOverBudget says what to do with images that do not fit MaxVisualTokens.
	OnOverBudget OnOverBudget
	// RepeatPolicy says what to do with an image that occurs more than once.
	RepeatPolicy RepeatPolicy
	// Reduction says how visual tokens are reduced, before and after the vision tower.
	Reduction Reduction
	// MinTokens is the fewest tokens that MaxVisualTokens leaves to an image, unless the image has fewer.
	MinTokens int
	// MaxShortSide and MaxLongSide bound the sides of each image, in pixels.
	MaxShortSide, MaxLongSide int
}

// A Reduction says which visual tokens are dropped.
type Reduction struct {
	// Keep is the share to keep, above 0 and at most 1. It excludes Mode.
	Keep float64
	// Mode says how many tokens are kept, Reducer how they are ranked.
	Mode    ReductionMode
	Reducer Reducer
	// FlatTolerance drops uniform patches: new(uint32(0)) those of exactly a single colour; higher values are the
	// largest allowed difference per channel.
	FlatTolerance *uint32
	// NearRepeats is the share to keep of consecutive similar images, such as video frames, above 0 and at most 1.
	NearRepeats float64
}

// A Detail is how much detail of an image matters.
type Detail string

// Levels of detail.
const (
	// DetailLow is the least detail.
	DetailLow Detail = "low"
	// DetailHigh is full detail, up to MaxPixels.
	DetailHigh Detail = "high"
	// DetailAuto is the smallest size at which text stays readable.
	DetailAuto Detail = "auto"
)

// OnOverBudget says what to do with images that do not fit the budget.
type OnOverBudget string

// What to do with images over budget.
const (
	// OverBudgetFit shrinks the images until they fit.
	OverBudgetFit OnOverBudget = "fit"
	// OverBudgetRefuse refuses the request with [ReasonVisualBudgetExceeded].
	OverBudgetRefuse OnOverBudget = "refuse"
)

// A RepeatPolicy says what to do with an image that occurs more than once in a request.
type RepeatPolicy string

// The policies.
const (
	// RepeatKeep keeps its tokens at each position.
	RepeatKeep RepeatPolicy = "keep"
	// RepeatReference replaces later copies with a reference in the text.
	RepeatReference RepeatPolicy = "reference"
)

// A ReductionMode says how many tokens are kept.
type ReductionMode string

// The modes.
const (
	// ReductionOff keeps all.
	ReductionOff ReductionMode = "off"
	// ReductionEconomy keeps three quarters.
	ReductionEconomy ReductionMode = "economy"
	// ReductionStrong keeps half.
	ReductionStrong ReductionMode = "strong"
	// ReductionAuto chooses the share for each image.
	ReductionAuto ReductionMode = "auto"
)

// A Reducer says how tokens are ranked.
type Reducer string

// The reducers.
const (
	// ReducerResize resizes the image until it has the wanted number of tokens.
	ReducerResize Reducer = "resize"
	// ReducerScope ranks by saliency and coverage.
	ReducerScope Reducer = "scope"
	// ReducerDivPrune ranks by diversity.
	ReducerDivPrune Reducer = "divprune"
	// ReducerStride keeps tokens at even distances.
	ReducerStride Reducer = "stride"
	// ReducerRandom keeps tokens at random, the same for every image of a size.
	ReducerRandom Reducer = "random"
)

// limit is the maxPixels at which an image of this size is planned, as far as its size determines it: the tokens
// of a request may all go to a single image. If even the smallest size does not fit, the service refuses.
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

// writer writes the fields of a budget and keeps the first error.
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

// word is the number of a word in an enum of the contract, whose names share a prefix.
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

// wordOf is the word of an enum value. Empty if it is unset or unknown.
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
