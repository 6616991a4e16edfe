package fovea

import (
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// A TokenCount is the cost of an image.
type TokenCount struct {
	// Original is the size as a viewer shows the image. Planned is the size that the model sees.
	Original, Planned Size
	// Grid is the patch grid of the planned size.
	Grid Grid
	// Patches counts patches, which the vision tower computes. Tokens counts visual tokens, which the language
	// model reads: a quarter of the patches.
	Patches, Tokens int
	// RowBytes is the size of all rows. 0 if the service does not know its row width.
	RowBytes int
}

// A Count is the cost of a whole request.
type Count struct {
	// PromptTokens counts text and visual tokens. The chat template counts as text.
	PromptTokens, TextTokens, VisualTokens int
	// Images are in the order of the request.
	Images []TokenCount
	// KVBytes is the size of the prompt in the KV cache.
	KVBytes int64
	// FitsContext says whether the prompt and the longest requested answer fit the context.
	FitsContext bool
	// Exact says whether VisualTokens is the exact cost. Otherwise it is the upper bound.
	Exact bool
	// VisualTokensMin is the lower bound.
	VisualTokensMin int
	// RowBytes is the size of the rows of all images. Repeated images count once.
	RowBytes int64
	// PrefillFLOPs is the number of floating-point operations of the prefill. Prefill is its expected time, from
	// recent prefills; 0 if there were none.
	PrefillFLOPs float64
	Prefill      time.Duration
	// Plans are the plans of the images, in the order of Images.
	Plans []ImagePlan
	// Alternatives are the costs of other budgets.
	Alternatives []Alternative
	// Quote is nil if an image is given by its size only.
	Quote *Quote
}

// A Quote is the most that a request may cost, signed.
type Quote struct {
	Token string
	// MaxTokens counts those of the prompt and the answer.
	MaxTokens int
	// MaxAmount is the highest price. Currency is empty without a tariff.
	MaxAmount float64
	Currency  string
	Expires   time.Time
}

// An ImagePlan is the plan of an image, and its cost.
type ImagePlan struct {
	// Steps are in order, as on a receipt. Steps that depend on pixels give their upper bound.
	Steps []ReceiptStep
	// Tokens is the upper bound of the visual tokens, TokensMin the lower bound.
	Tokens, TokensMin int
	// RepeatOf is the index, from 0, of the earlier image that it repeats. -1 if it repeats none.
	RepeatOf int
}

// An Alternative is the same request with another budget. Its other fields are those of a [Count].
type Alternative struct {
	// Name is for instance `detail high`.
	Name string
	// Budget can be sent as it is.
	Budget                        Budget
	VisualTokens, VisualTokensMin int
	Exact                         bool
	RowBytes, KVBytes             int64
	PrefillFLOPs                  float64
	FitsContext                   bool
}

func sizeOf(m *visionv1.Size) Size { return Size{int(m.GetWidth()), int(m.GetHeight())} }

func gridOf(m *visionv1.GridThw) Grid { return Grid{int(m.GetT()), int(m.GetH()), int(m.GetW())} }

func tokenCountOf(m *visionv1.TokenCount) TokenCount {
	return TokenCount{
		Original: sizeOf(m.GetOriginal()),
		Planned:  sizeOf(m.GetPlanned()),
		Grid:     gridOf(m.GetGrid()),
		Patches:  int(m.GetPatches()),
		Tokens:   int(m.GetTokens()),
		RowBytes: int(m.GetRowBytes()),
	}
}

func countOf(m *decoderv1.CountTokensResponse) Count {
	return Count{
		PromptTokens: int(m.PromptTokens),
		TextTokens:   int(m.TextTokens),
		VisualTokens: int(m.VisualTokens),
		Images:       each(m.Images, tokenCountOf),
		KVBytes:      int64(m.KvBytes),
		FitsContext:  m.FitsContext,

		Exact:           m.Exact,
		VisualTokensMin: int(m.VisualTokensMin),
		RowBytes:        int64(m.RowBytes),
		PrefillFLOPs:    m.PrefillFlops,
		Prefill:         ms(m.PrefillMs),
		Plans:           each(m.Plans, imagePlanOf),
		Alternatives:    each(m.Alternatives, alternativeOf),
		Quote:           quoteOf(m.Quote),
	}
}

func quoteOf(m *decoderv1.Quote) *Quote {
	if m == nil {
		return nil
	}
	return &Quote{m.Token, int(m.MaxTokens), m.MaxAmount, m.Currency, m.ExpireTime.AsTime()}
}

func imagePlanOf(m *decoderv1.ImagePlan) ImagePlan {
	return ImagePlan{each(m.Steps, stepOf), int(m.Tokens), int(m.TokensMin), repeatOf(m.RepeatOf)}
}

func alternativeOf(m *decoderv1.Alternative) Alternative {
	return Alternative{
		Name:            m.Name,
		Budget:          budgetOf(m.Visual),
		VisualTokens:    int(m.VisualTokens),
		VisualTokensMin: int(m.VisualTokensMin),
		Exact:           m.Exact,
		RowBytes:        int64(m.RowBytes),
		KVBytes:         int64(m.KvBytes),
		PrefillFLOPs:    m.PrefillFlops,
		FitsContext:     m.FitsContext,
	}
}

// repeatOf is -1 if no index is set.
func repeatOf(place *uint32) int {
	if place == nil {
		return -1
	}
	return int(*place)
}

// each maps a list of messages to values.
func each[M, V any](messages []M, value func(M) V) []V {
	values := make([]V, len(messages))
	for i, message := range messages {
		values[i] = value(message)
	}
	return values
}
