package fovea

import (
	"testing"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
	"google.golang.org/protobuf/proto"
)

var wholeBudget = Budget{
	MaxPixels: 1, MaxVisualTokens: 2, Detail: DetailAuto, MinDetail: DetailLow, OnOverBudget: OverBudgetRefuse,
	RepeatPolicy: RepeatReference, MinTokens: 3, MaxShortSide: 4, MaxLongSide: 5,
	Reduction: Reduction{Keep: 0.5, Reducer: ReducerDivPrune, FlatTolerance: new(uint32(0)), NearRepeats: 0.25},
}

func TestABudgetIsSentWhole(t *testing.T) {
	sent, err := newDraft(Request{Budget: wholeBudget})
	want := &decoderv1.VisualBudget{
		MaxPixels: new(uint32(1)), MaxVisualTokens: 2, Detail: decoderv1.Detail_DETAIL_AUTO,
		MinDetail: decoderv1.Detail_DETAIL_LOW, OnOverBudget: decoderv1.OnOverBudget_ON_OVER_BUDGET_REFUSE,
		RepeatPolicy: decoderv1.RepeatPolicy_REPEAT_POLICY_REFERENCE, MinTokens: 3, MaxShortSide: 4, MaxLongSide: 5,
		Reduction: &decoderv1.Reduction{
			Keep: new(float32(0.5)), Reducer: visionv1.Reducer_REDUCER_DIVPRUNE, FlatTolerance: new(uint32(0)),
			NearRepeats: new(float32(0.25)),
		},
	}
	if err != nil || !proto.Equal(sent.request.Visual, want) {
		t.Errorf("%v, not %v (%v)", sent.request.Visual, want, err)
	}
	back := budgetOf(want)
	if *back.Reduction.FlatTolerance != 0 {
		t.Error("the tolerance is another")
	}
	back.Reduction.FlatTolerance = wholeBudget.Reduction.FlatTolerance
	if back != wholeBudget {
		t.Errorf("%+v came back as %+v", wholeBudget, back)
	}
	if empty, err := newDraft(Request{}); err != nil || proto.Size(empty.request.Visual) != 0 {
		t.Errorf("nothing was sent as %v (%v)", empty.request.Visual, err)
	}
}

func TestBudgetsThatCannotBeSent(t *testing.T) {
	for field, request := range map[string]Request{
		"visual.detail":         {Budget: Budget{Detail: "middling"}},
		"visual.reduction.mode": {Budget: Budget{Reduction: Reduction{Mode: "unspecified"}}},
		"visual.max_pixels":     {MaxPixels: 1, Budget: Budget{MaxPixels: 1}},
		"visual.min_tokens":     {Budget: Budget{MinTokens: -1}},
		"size.width":            {Messages: []Message{User(Size{-1, 2})}},
	} {
		_, err := newDraft(request)
		if failed, ok := err.(*Error); !ok || failed.Violations[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestASizeStandsForAnImage(t *testing.T) {
	sent, err := newDraft(Request{Messages: []Message{User(Size{1600, 1200}, Text("?"))}})
	if err != nil || sizeOf(sent.request.Messages[0].Parts[0].GetImage().GetSize()) != (Size{1600, 1200}) {
		t.Errorf("%v, %v", sent.request, err)
	}
}

func TestACountSaysWhatOtherBudgetsWouldCost(t *testing.T) {
	count := countOf(&decoderv1.CountTokensResponse{
		Exact: true, VisualTokensMin: 5, RowBytes: 6, PrefillFlops: 7, PrefillMs: 8,
		Plans: []*decoderv1.ImagePlan{{Tokens: 9}, {Tokens: 9, RepeatOf: new(uint32(0))}},
		Alternatives: []*decoderv1.Alternative{
			{Name: "detail high", Visual: &decoderv1.VisualBudget{Detail: decoderv1.Detail_DETAIL_HIGH}, KvBytes: 10},
		},
	})
	other := count.Alternatives[0]
	if !count.Exact || count.Plans[0].RepeatOf != -1 || count.Plans[1].RepeatOf != 0 || count.Prefill.Milliseconds() != 8 {
		t.Errorf("%+v", count)
	}
	if other.Name != "detail high" || other.Budget != (Budget{Detail: DetailHigh}) || other.KVBytes != 10 {
		t.Errorf("%+v", other)
	}
}

func TestRowsOfEveryDtypeAreAsLongAsTheContractSays(t *testing.T) {
	for dtype, bytes := range map[visionv1.RowDtype]uint32{1: 1024, 2: 1024, 3: 2048, 4: 528, 5: 544} {
		layout := &visionv1.RowLayout{Version: 1, Width: 128, Levels: 3, Dtype: dtype, RowBytes: bytes}
		if !known(layout) {
			t.Errorf("%v is not known", layout)
		}
		layout.RowBytes++
		if known(layout) {
			t.Errorf("%v is known", layout)
		}
	}
	if known(&visionv1.RowLayout{Version: 1, Width: 100, Levels: 3, Dtype: 5, RowBytes: 432}) {
		t.Error("groups of 64 values are cut in the middle")
	}
}
