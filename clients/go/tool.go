package fovea

import (
	decoderv1 "fovea.dev/go/fovea/decoder/v1"
)

// A Tool is a tool that the model may call.
type Tool struct {
	// Name has letters, digits, `_`, `-` and `.`, at most 64 of them.
	Name string
	// Description says what the tool does, for the model.
	Description string
	// Parameters is the JSON schema of its arguments, itself written as JSON. Empty if it takes none.
	Parameters string
	// Strict holds the arguments to the schema, even if the model need not call the tool.
	Strict bool
}

// A ToolCall is a call of a tool by the model.
type ToolCall struct {
	ID, Name string
	// Arguments is a JSON object, as the model wrote it. It is valid under the tool's schema if the call was forced or
	// the tool is strict, and the answer was not cut.
	Arguments string
}

// A ToolCallDelta is part of a call. ID and Name come with its first part; the Arguments of all parts add up.
type ToolCallDelta struct {
	// Index is the position of the call among the answer's calls.
	Index     int
	ID, Name  string
	Arguments string
}

// A ToolChoice says whether the model calls tools: [ToolsAuto], [ToolsNone], [ToolsRequired], or the tool of a name.
type ToolChoice struct {
	mode  decoderv1.ToolMode
	name  string
	named bool
}

// The choices that name no tool. The zero value is ToolsAuto.
var (
	// ToolsAuto lets the model decide.
	ToolsAuto = ToolChoice{}
	// ToolsNone forbids calls. The model does not see the tools.
	ToolsNone = ToolChoice{mode: decoderv1.ToolMode_TOOL_MODE_NONE}
	// ToolsRequired makes the answer a call of some tool.
	ToolsRequired = ToolChoice{mode: decoderv1.ToolMode_TOOL_MODE_REQUIRED}
)

// ToolNamed makes the answer a call of this tool.
func ToolNamed(name string) ToolChoice { return ToolChoice{name: name, named: true} }

func (c ToolChoice) message() *decoderv1.ToolChoice {
	switch {
	case c.named:
		return &decoderv1.ToolChoice{Choice: &decoderv1.ToolChoice_Name{Name: c.name}}
	case c.mode != decoderv1.ToolMode_TOOL_MODE_UNSPECIFIED:
		return &decoderv1.ToolChoice{Choice: &decoderv1.ToolChoice_Mode{Mode: c.mode}}
	}
	return nil
}

func toolTo(t Tool) *decoderv1.Tool {
	return &decoderv1.Tool{Name: t.Name, Description: t.Description, Parameters: t.Parameters, Strict: t.Strict}
}

func callTo(c ToolCall) *decoderv1.ToolCall {
	return &decoderv1.ToolCall{Id: c.ID, Name: c.Name, Arguments: c.Arguments}
}

func callOf(m *decoderv1.ToolCall) ToolCall { return ToolCall{m.Id, m.Name, m.Arguments} }

func callDeltaOf(m *decoderv1.ToolCallDelta) ToolCallDelta {
	return ToolCallDelta{int(m.Index), m.Id, m.Name, m.Arguments}
}
