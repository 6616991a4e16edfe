package fovea

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
)

const colourSchema = `{"type": "object", "properties": {"colour": {"enum": ["red", "yellow"]}}, "required": ["colour"],
	"additionalProperties": false}`

func TestAnAnswerHasTheFormThatWasAskedFor(t *testing.T) {
	client := dialHouse(t)
	ask := func(format Format) string {
		t.Helper()
		request := Question("Which bar is the tallest?", File(ChartOfTheTests))
		request.Format = format
		answer, err := client.Ask(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		if answer.FinishReason != FinishStop {
			t.Errorf("%v ended with %s", format, answer.FinishReason)
		}
		return answer.Text
	}
	var found struct{ Colour string }
	if text := ask(JSONSchema(colourSchema)); json.Unmarshal([]byte(text), &found) != nil || found.Colour == "" {
		t.Errorf("by the schema %s", text)
	}
	if text := ask(Regex("[a-z]{6}")); text != "yellow" {
		t.Errorf("by the expression %s", text)
	}
	if text := ask(Choice{"blue", "yellow"}); text != "yellow" {
		t.Errorf("of the choice %s", text)
	}
}

func TestAFormThatCannotBeEnforcedIsRefusedByField(t *testing.T) {
	request := Question("Which bar is the tallest?")
	request.Format = Regex("(a")
	_, err := dialHouse(t).Ask(context.Background(), request)
	failed, ok := errors.AsType[*Error](err)
	if !ok || len(failed.Violations) != 1 || failed.Violations[0].Field != "response_format.regex" {
		t.Errorf("%+v", err)
	}
}

func TestLogprobsAreToldATokenWhereTheyAreAskedFor(t *testing.T) {
	client := dialHouse(t)
	request := Question("Which bar is the tallest?", File(ChartOfTheTests))
	request.Logprobs = true
	answer, err := client.Ask(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	if n := answer.Receipt.Totals.OutputTokens; len(answer.TokenIDs) != n || len(answer.Logprobs) != n {
		t.Errorf("%d tokens, %d logprobs for %d", len(answer.TokenIDs), len(answer.Logprobs), n)
	}
	var tokens []uint32
	var logprobs []float32
	for event, err := range client.Stream(context.Background(), request) {
		if err != nil {
			t.Fatal(err)
		}
		if delta, ok := event.(Delta); ok {
			tokens, logprobs = append(tokens, delta.TokenIDs...), append(logprobs, delta.Logprobs...)
		}
	}
	near := func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-2 && a <= 0 }
	if !slices.Equal(tokens, answer.TokenIDs) || !slices.EqualFunc(logprobs, answer.Logprobs, near) {
		t.Errorf("streamed %v %v, whole %v %v", tokens, logprobs, answer.TokenIDs, answer.Logprobs)
	}
	request.TopLogprobs = 3
	if answer, err = client.Ask(context.Background(), request); err != nil {
		t.Fatal(err)
	}
	for at, top := range answer.TopLogprobs {
		best := top[0]
		if len(top) != 3 || best.TokenID != answer.TokenIDs[at] || !slices.Equal(best.Token, answer.TokenBytes[at]) {
			t.Errorf("%+v for token %d", top, answer.TokenIDs[at])
		}
	}
	if text := string(bytes.Join(answer.TokenBytes, nil)); text != answer.Text || len(answer.TopLogprobs) != len(answer.TokenIDs) {
		t.Errorf("%q of %+v", text, answer)
	}
	request.Logprobs, request.TopLogprobs = false, 0
	if answer, err = client.Ask(context.Background(), request); err != nil || len(answer.Logprobs) != 0 {
		t.Errorf("%+v %v", answer, err)
	}
}
