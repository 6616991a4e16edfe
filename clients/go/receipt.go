package fovea

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// A RowSource says where the rows of an image came from.
type RowSource string

// The sources.
const (
	// SourceEncoded means that the vision tower computed the rows for this call or for a concurrent call.
	SourceEncoded RowSource = "encoded"
	// SourceRows means that the encoder's store held the rows: a row hit.
	SourceRows RowSource = "rows"
	// SourcePrefix means that the KV cache held the image's prefix. No rows were sent.
	SourcePrefix RowSource = "prefix"
	// SourceNone means that no rows were needed. A step of the receipt says why.
	SourceNone RowSource = "none"
)

// A Receipt is the cost of an answer. It prints as a small table.
type Receipt struct {
	// Images are in the order of the request.
	Images []ReceiptImage
	Totals ReceiptTotals
	Stages ReceiptStages
	// Tiers are the tiers that were tried; the last of them answered. TierReason says why that tier answered.
	Tiers      []string
	TierReason string
	// Price is by the operator's tariff. Its Currency is empty if no tariff is set.
	Price Price
	// Degraded is true if images lost detail because the service was under load.
	Degraded bool
}

// A ReceiptImage is the cost of an image.
type ReceiptImage struct {
	// ID is the id of the file.
	ID string
	// Original is the size as a viewer shows the image. Planned is the size that the model saw.
	Original, Planned Size
	// Grid is the patch grid of the planned size. Patches is its number of patches.
	Grid    Grid
	Patches int
	// TokensFull is the cost without planning, at the checkpoint's own limits. Tokens is the number of visual
	// tokens that the model read.
	TokensFull, Tokens int
	// Steps are the steps that changed the image, in order.
	Steps []ReceiptStep
	// Source says where its rows came from, Encoder which encoder served them, and Dtype in which dtype they were
	// sent.
	Source  RowSource
	Encoder string
	Dtype   string
	// RowBytes is the size of its rows. WireBytes is the number of bytes sent for this answer.
	RowBytes, WireBytes int
	// RowsDigest is `sha256:<hex>` of the rows as served.
	RowsDigest string
	// RepeatOf is the index, from 0, of the earlier image of this request that it repeats. -1 if it repeats none.
	RepeatOf int
	// Kind is what the image mostly shows: text, graphic, photo, blank, chart, table or drawing. Empty if unknown.
	Kind string
}

// A ReceiptStep is a step that changed an image or its tokens. Before and After count visual tokens.
type ReceiptStep struct {
	Name          string
	Before, After int
	Reason        string
}

// ReceiptTotals are the sums over a request.
type ReceiptTotals struct {
	// VisualTokens counts the visual tokens that the model read, NaiveVisualTokens those without planning.
	VisualTokens, NaiveVisualTokens int
	// TextTokens counts the text tokens of the prompt, CachedPromptTokens those in the KV cache.
	TextTokens, CachedPromptTokens int
	// OutputTokens counts the tokens of the answer.
	OutputTokens int
	// Encodes counts the images that the vision tower computed for this answer.
	Encodes int
	// WireBytes is the number of bytes of rows sent.
	WireBytes int64
	// RowBytes is the size of the rows of all images. Repeated images count once.
	RowBytes int64
	// Patches counts the patches that the vision tower computed for this answer, NaivePatches those without
	// planning and caching.
	Patches, NaivePatches int64
}

// ReceiptStages are the times of the stages. Encode and Transfer are those of the slowest image, because images
// overlap.
type ReceiptStages struct {
	// Queue is the wait for the engine.
	Queue time.Duration
	// Encode is the encoder's work up to the first row. Transfer is from the first row to the last.
	Encode, Transfer time.Duration
	// Prefill is the prefill of the prompt. FirstToken is the time from the call to the first token.
	Prefill, FirstToken time.Duration
	// Decode is from the first token to the last. Total is from the call to the last token.
	Decode, Total time.Duration
}

// A Price is an amount in a currency of ISO 4217.
type Price struct {
	Amount   float64
	Currency string
	// NaiveAmount is the amount by the same tariff without planning and caching.
	NaiveAmount float64
}

// Saved is the share of visual tokens that planning saved, 0 to 1.
func (t ReceiptTotals) Saved() float64 {
	if t.NaiveVisualTokens == 0 {
		return 0
	}
	return 1 - float64(t.VisualTokens)/float64(t.NaiveVisualTokens)
}

// String prints a table of the images, a line of tokens and a line of times.
func (r Receipt) String() string {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "IMAGE\tSIZE\tSEEN AS\tTOKENS\tROWS\tENCODER\tMOVED")
	for _, image := range r.Images {
		fmt.Fprintf(table, "%.19s\t%s\t%s\t%d\t%s\t%s\t%s\n", image.ID, image.Original, image.Planned,
			image.Tokens, image.Source, image.Encoder, byteSize(int64(image.WireBytes)))
	}
	table.Flush()
	t, s := r.Totals, r.Stages
	fmt.Fprintf(&out, "tokens  %d visual + %d text in, %d out\n", t.VisualTokens, t.TextTokens, t.OutputTokens)
	if t.VisualTokens < t.NaiveVisualTokens {
		fmt.Fprintf(&out, "saved   %.0f%% of %d visual tokens\n", 100*t.Saved(), t.NaiveVisualTokens)
	}
	if r.Price.Currency != "" {
		fmt.Fprintf(&out, "price   %.6g %s, without planning %.6g\n", r.Price.Amount, r.Price.Currency, r.Price.NaiveAmount)
	}
	if r.Degraded {
		fmt.Fprintln(&out, "detail was lowered: the service was near a limit")
	}
	fmt.Fprintf(&out, "times   queue %s, encode %s, transfer %s, prefill %s, first token %s, decode %s, total %s\n",
		short(s.Queue), short(s.Encode), short(s.Transfer), short(s.Prefill), short(s.FirstToken), short(s.Decode),
		short(s.Total))
	return out.String()
}

func short(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// byteSize prints bytes in a unit that keeps the figure short.
func byteSize(n int64) string {
	for _, unit := range []struct {
		name string
		one  int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.one {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.one), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

func receiptOf(m *decoderv1.Receipt) Receipt {
	return Receipt{
		Images:     each(m.GetImages(), receiptImageOf),
		Totals:     totalsOf(m.GetTotals()),
		Stages:     stagesOf(m.GetStagesMs()),
		Tiers:      m.GetTier().GetPath(),
		TierReason: m.GetTier().GetReason(),
		Price:      Price{m.GetPrice().GetAmount(), m.GetPrice().GetCurrency(), m.GetPrice().GetNaiveAmount()},
		Degraded:   m.GetDegraded(),
	}
}

func receiptImageOf(m *decoderv1.ReceiptImage) ReceiptImage {
	return ReceiptImage{
		ID:         m.Digest,
		Original:   sizeOf(m.Original),
		Planned:    sizeOf(m.Planned),
		Grid:       gridOf(m.Grid),
		Patches:    int(m.Patches),
		TokensFull: int(m.TokensFull),
		Tokens:     int(m.Tokens),
		Steps:      each(m.Steps, stepOf),
		Source:     sourceOf(m.Source),
		Encoder:    m.Encoder,
		Dtype:      dtypeOf(m.Dtype),
		RowBytes:   int(m.RowBytes),
		WireBytes:  int(m.WireBytes),
		RowsDigest: m.RowsDigest,
		RepeatOf:   repeatOf(m.RepeatOf),
		Kind:       wordOf[string](int32(m.Kind), visionv1.ImageKind_name),
	}
}

func stepOf(m *decoderv1.ReceiptStep) ReceiptStep {
	return ReceiptStep{m.Name, int(m.Before), int(m.After), m.Reason}
}

func totalsOf(m *decoderv1.ReceiptTotals) ReceiptTotals {
	return ReceiptTotals{
		VisualTokens:       int(m.GetVisualTokens()),
		NaiveVisualTokens:  int(m.GetNaiveVisualTokens()),
		TextTokens:         int(m.GetTextTokens()),
		CachedPromptTokens: int(m.GetCachedPromptTokens()),
		OutputTokens:       int(m.GetOutputTokens()),
		Encodes:            int(m.GetEncodes()),
		WireBytes:          int64(m.GetWireBytes()),
		RowBytes:           int64(m.GetRowBytes()),
		Patches:            int64(m.GetPatches()),
		NaivePatches:       int64(m.GetNaivePatches()),
	}
}

func stagesOf(m *decoderv1.ReceiptStages) ReceiptStages {
	return ReceiptStages{
		Queue:      ms(m.GetQueue()),
		Encode:     ms(m.GetEncode()),
		Transfer:   ms(m.GetTransfer()),
		Prefill:    ms(m.GetPrefill()),
		FirstToken: ms(m.GetTtft()),
		Decode:     ms(m.GetDecode()),
		Total:      ms(m.GetTotal()),
	}
}

func ms(n float32) time.Duration { return time.Duration(float64(n) * float64(time.Millisecond)) }

func sourceOf(source visionv1.RowSource) RowSource {
	return RowSource(plainName(source.String(), "ROW_SOURCE_"))
}

// dtypeOf is bf16, fp16, fp32, fp8 or int8. Empty if unknown.
func dtypeOf(dtype visionv1.RowDtype) string {
	if dtype == visionv1.RowDtype_ROW_DTYPE_UNSPECIFIED {
		return ""
	}
	return plainName(dtype.String(), "ROW_DTYPE_")
}
