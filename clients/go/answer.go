package fovea

import decoderv1 "fovea.dev/go/fovea/decoder/v1"

// A FinishReason says why an answer ended.
type FinishReason string

// The finish reasons.
const (
	// FinishStop means that the model ended the answer, or a stop string matched.
	FinishStop FinishReason = "stop"
	// FinishLength means that MaxNewTokens was reached. The answer is cut and may not match its [Format].
	FinishLength FinishReason = "length"
	// FinishToolCalls means that the answer calls tools, and waits for their results.
	FinishToolCalls FinishReason = "tool_calls"
)

// An Answer is a complete answer.
type Answer struct {
	// Text is the answer's text.
	Text string
	// FinishReason says why the answer ended. MatchedStop is the stop string that ended it, if any; the answer
	// then may not match its [Format].
	FinishReason FinishReason
	MatchedStop  string
	// Model is the name of the model.
	Model string
	// RequestID identifies the request in the logs.
	RequestID string
	// TokenIDs are the tokens of the answer. Logprobs are their natural log-probabilities, if [Request] asks for
	// them.
	TokenIDs []uint32
	Logprobs []float32
	// TokenBytes are the bytes of the tokens, if [Request] asks for log-probabilities. They may be part of a
	// character, and are empty for special tokens. TopLogprobs are the most likely tokens at each position, if
	// [Request] asks for them.
	TokenBytes  [][]byte
	TopLogprobs [][]TokenLogprob
	// Reasoning preceded the answer, with a checkpoint that reasons.
	Reasoning string
	// ToolCalls are the tools that the answer calls.
	ToolCalls []ToolCall
	// Receipt is the cost of the answer.
	Receipt Receipt
}

// An Event is part of a streamed answer: a [Started], then [Delta]s, then a [Finished].
type Event interface{ event() }

// Started reports that the request was accepted: its images are stored and its prompt fits.
type Started struct {
	RequestID string
	Model     string
	// PromptTokens counts text and visual tokens.
	PromptTokens, VisualTokens int
}

// A Delta is the next part of the answer.
type Delta struct {
	// Text is appended to the answer. It may be empty.
	Text string
	// TokenIDs are the tokens since the last Delta.
	TokenIDs []uint32
	// Logprobs are their natural log-probabilities, if [Request] asks for them.
	Logprobs []float32
	// TokenBytes and TopLogprobs are those of [Answer].
	TokenBytes  [][]byte
	TopLogprobs [][]TokenLogprob
	// Reasoning is appended to the reasoning, and ToolCalls to the tool calls, by index.
	Reasoning string
	ToolCalls []ToolCallDelta
}

// A TokenLogprob is a token with its natural log-probability.
type TokenLogprob struct {
	TokenID uint32
	Logprob float32
	// Token are its bytes, as in [Answer].
	Token []byte
}

// Finished reports that the answer is complete.
type Finished struct {
	FinishReason FinishReason
	MatchedStop  string
	Receipt      Receipt
}

func (Started) event()  {}
func (Delta) event()    {}
func (Finished) event() {}

// eventOf returns nil for an event of a later service.
func eventOf(m *decoderv1.GenerateResponse) Event {
	switch e := m.Event.(type) {
	case *decoderv1.GenerateResponse_Started:
		s := e.Started
		return Started{s.RequestId, s.Model, int(s.PromptTokens), int(s.VisualTokens)}
	case *decoderv1.GenerateResponse_Delta:
		d := e.Delta
		return Delta{
			d.Text, d.TokenIds, d.Logprobs, d.TokenBytes, each(d.TopLogprobs, topOf),
			d.Reasoning, each(d.ToolCalls, callDeltaOf),
		}
	case *decoderv1.GenerateResponse_Finished:
		f := e.Finished
		return Finished{finishOf(f.FinishReason), f.MatchedStop, receiptOf(f.Receipt)}
	}
	return nil
}

func answerOf(m *decoderv1.CompleteResponse) *Answer {
	return &Answer{
		Text:         m.Text,
		FinishReason: finishOf(m.FinishReason),
		MatchedStop:  m.MatchedStop,
		Model:        m.Model,
		RequestID:    m.RequestId,
		TokenIDs:     m.TokenIds,
		Logprobs:     m.Logprobs,
		TokenBytes:   m.TokenBytes,
		TopLogprobs:  each(m.TopLogprobs, topOf),
		Reasoning:    m.Reasoning,
		ToolCalls:    each(m.ToolCalls, callOf),
		Receipt:      receiptOf(m.Receipt),
	}
}

func topOf(m *decoderv1.TopLogprobs) []TokenLogprob {
	return each(m.Tokens, func(token *decoderv1.TokenLogprob) TokenLogprob {
		return TokenLogprob{token.TokenId, token.Logprob, token.Token}
	})
}

func finishOf(reason decoderv1.FinishReason) FinishReason {
	return FinishReason(plainName(reason.String(), "FINISH_REASON_"))
}
