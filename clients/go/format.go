package fovea

import decoderv1 "fovea.dev/go/fovea/decoder/v1"

// A Format is the form that an answer must have: a [JSONSchema], a [Regex] or a [Choice]. An answer that ends with
// [FinishLength] was cut, and one with a MatchedStop was stopped: neither need have it. What the service cannot enforce
// it refuses, and names the field.
type Format interface {
	format() *decoderv1.ResponseFormat
}

// JSONSchema asks for JSON that is valid by this schema, itself written as JSON.
type JSONSchema string

// Regex asks for text that this expression matches as a whole. The syntax is that of Rust, without look-around.
type Regex string

// Choice asks for one of these.
type Choice []string

func (s JSONSchema) format() *decoderv1.ResponseFormat {
	return &decoderv1.ResponseFormat{Format: &decoderv1.ResponseFormat_JsonSchema{JsonSchema: string(s)}}
}

func (r Regex) format() *decoderv1.ResponseFormat {
	return &decoderv1.ResponseFormat{Format: &decoderv1.ResponseFormat_Regex{Regex: string(r)}}
}

func (c Choice) format() *decoderv1.ResponseFormat {
	return &decoderv1.ResponseFormat{Format: &decoderv1.ResponseFormat_Choice{Choice: &decoderv1.Choice{Options: c}}}
}
