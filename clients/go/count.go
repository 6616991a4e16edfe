package fovea

import (
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
	}
}

// each maps a list of messages to values.
func each[M, V any](messages []M, value func(M) V) []V {
	values := make([]V, len(messages))
	for i, message := range messages {
		values[i] = value(message)
	}
	return values
}
