package fovea

import decoderv1 "fovea.dev/go/fovea/decoder/v1"

// A Format constrains the answer: a [JSONSchema], a [Regex] or a [Choice]. An answer that ends with [FinishLength]
// was cut, and an answer with a MatchedStop was stopped; either may not match. A format that the service cannot
// enforce is refused, and the error names the field.
type Format interface {
	format() *decoderv1.ResponseFormat
}

// JSONSchema constrains the answer to JSON that is valid by this schema, itself written as JSON.
type JSONSchema string

// Regex constrains the answer to text that matches this expression as a whole. The syntax is that of Rust's regex
// crate, without look-around.
type Regex string

// Choice constrains the answer to these options.
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
