package fovea

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

var look = Tool{
	Name:        "look",
	Description: "Looks at a place.",
	Parameters: `{"type": "object", "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}},
		"required": ["x"], "additionalProperties": false}`,
}

func checkLook(t *testing.T, call ToolCall) {
	t.Helper()
	var arguments struct{ X *int }
	err := json.Unmarshal([]byte(call.Arguments), &arguments)
	if err != nil || arguments.X == nil || call.Name != "look" || call.ID == "" {
		t.Errorf("%+v %v", call, err)
	}
}

func TestAForcedCallAndItsResult(t *testing.T) {
	client := dialHouse(t)
	request := Question("Where is it?")
	request.Tools, request.ToolChoice, request.SingleToolCall = []Tool{look}, ToolNamed("look"), true
	answer, err := client.Ask(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if answer.FinishReason != FinishToolCalls || len(answer.ToolCalls) != 1 || answer.Text != "" {
		t.Fatalf("%+v", answer)
	}
	checkLook(t, answer.ToolCalls[0])
	request.ToolChoice = ToolsAuto
	request.Messages = append(request.Messages, Said(answer), Result(answer.ToolCalls[0], Text("Here.")))
	count, err := client.CountTokens(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err = client.Ask(t.Context(), request)
	if err != nil || answer.Receipt.Totals.TextTokens != count.PromptTokens {
		t.Errorf("%d tokens counted, %+v %v", count.PromptTokens, answer, err)
	}
}

func TestAForcedCallStreams(t *testing.T) {
	request := Question("Where is it?")
	request.Tools, request.ToolChoice = []Tool{look}, ToolsRequired
	calls := map[int]ToolCall{}
	for event, err := range dialHouse(t).Stream(t.Context(), request) {
		if err != nil {
			t.Fatal(err)
		}
		if delta, ok := event.(Delta); ok {
			for _, part := range delta.ToolCalls {
				call := calls[part.Index]
				calls[part.Index] = ToolCall{call.ID + part.ID, call.Name + part.Name, call.Arguments + part.Arguments}
			}
		}
	}
	if len(calls) == 0 {
		t.Error("no call")
	}
	for _, call := range calls {
		checkLook(t, call)
	}
}

func TestWhatIsWrongWithToolsIsNamed(t *testing.T) {
	client := dialHouse(t)
	for field, change := range map[string]func(*Request){
		"tools[0].name":       func(r *Request) { r.Tools = []Tool{{Name: "a b"}} },
		"tools[0].parameters": func(r *Request) { r.Tools = []Tool{{Name: "a", Parameters: `{"not": {}}`, Strict: true}} },
		"tools":               func(r *Request) { r.Tools = []Tool{{Name: "a", Description: strings.Repeat("x", 1<<20)}} },
		"tool_choice":         func(r *Request) { r.ToolChoice = ToolsRequired },
		"tool_choice.name":    func(r *Request) { r.ToolChoice = ToolNamed("") },
		"thinking":            func(r *Request) { r.Thinking = new(true) },
		"messages[0]":         func(r *Request) { r.ContinueFinalMessage = true },
	} {
		request := Question("?")
		change(&request)
		_, err := client.Ask(t.Context(), request)
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Code != codes.InvalidArgument || !slices.Equal(fields(failed), []string{field}) {
			t.Errorf("%s: %+v", field, err)
		}
	}
}

func TestAnAnswerContinuesAMessage(t *testing.T) {
	request := Question("?")
	request.Messages = append(request.Messages, Assistant("It is"))
	request.ContinueFinalMessage, request.Format = true, Choice{" red", " blue"}
	answer, err := dialHouse(t).Ask(t.Context(), request)
	if err != nil || (answer.Text != " red" && answer.Text != " blue") {
		t.Errorf("%+v %v", answer, err)
	}
}
