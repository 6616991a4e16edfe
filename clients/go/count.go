package fovea

import (
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// A TokenCount is what one image would cost.
type TokenCount struct {
	// Original is the size as a viewer shows the image, Planned the size that the model sees.
	Original, Planned Size
	// Grid is the patch grid of the planned size.
	Grid Grid
	// Patches are what the vision tower computes, Tokens what the language model reads: a quarter of them.
	Patches, Tokens int
	// RowBytes are those of all its rows; 0 where the service does not know its row width.
	RowBytes int
}

// A Count is what a whole request would cost.
type Count struct {
	// PromptTokens are text and visual tokens together; the chat template's own count as text.
	PromptTokens, TextTokens, VisualTokens int
	// Images stand in the order of the request.
	Images []TokenCount
	// KVBytes are those of the prompt in the KV cache.
	KVBytes int64
	// FitsContext says whether the prompt and the longest answer asked for fit.
	FitsContext bool
	// Exact says whether VisualTokens are what an answer would spend; else they are the most.
	Exact bool
	// VisualTokensMin are the fewest.
	VisualTokensMin int
	// RowBytes are those of the rows of all images, each different one once.
	RowBytes int64
	// PrefillFLOPs is the arithmetic to read the prompt, Prefill how long that took lately; 0 where nothing was read.
	PrefillFLOPs float64
	Prefill      time.Duration
	// Plans say what is done to each image, in the order of Images.
	Plans []ImagePlan
	// Alternatives are what other budgets would cost.
	Alternatives []Alternative
}

// An ImagePlan is what is done to an image, and what it then costs.
type ImagePlan struct {
	// Steps stand in order, as on a receipt, where they depend on pixels at their upper bound.
	Steps []ReceiptStep
	// Tokens are the most visual tokens that it costs, TokensMin the fewest.
	Tokens, TokensMin int
	// RepeatOf is the place, from 0, of the earlier image that it repeats; -1 where it repeats none.
	RepeatOf int
}

// An Alternative is the same request under another budget. Its other fields are those of a [Count].
type Alternative struct {
	// Name is for instance `detail high`.
	Name string
	// Budget can be asked with as it is.
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
	}
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

// repeatOf is -1 where no place is named.
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
