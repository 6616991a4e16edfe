package fovea

import decoderv1 "fovea.dev/go/fovea/decoder/v1"

// A FinishReason says why an answer ended.
type FinishReason string

// The finish reasons.
const (
	// FinishStop is an answer that the model ended, or a stop string did.
	FinishStop FinishReason = "stop"
	// FinishLength is an answer that reached MaxNewTokens: it is cut, and need not have its [Format].
	FinishLength FinishReason = "length"
)

// An Answer is a whole answer.
type Answer struct {
	// Text is the answer.
	Text string
	// FinishReason says why it ended, MatchedStop which stop string ended it, if one did: then it need not have its [Format].
	FinishReason FinishReason
	MatchedStop  string
	// Model is the name of the model.
	Model string
	// RequestID finds the request in the logs.
	RequestID string
	// TokenIDs are its tokens, Logprobs the natural log-probability of each, where [Request] asks for them.
	TokenIDs []uint32
	Logprobs []float32
	// Receipt is what it cost.
	Receipt Receipt
}

// An Event is a piece of a streamed answer: one [Started], then [Delta]s, then one [Finished].
type Event interface{ event() }

// Started says that the request was accepted: its images are stored and its prompt fits.
type Started struct {
	RequestID string
	Model     string
	// PromptTokens are text and visual tokens together.
	PromptTokens, VisualTokens int
}

// A Delta is more of the answer.
type Delta struct {
	// Text follows what came before. It may be empty.
	Text string
	// TokenIDs are the tokens chosen since the last Delta.
	TokenIDs []uint32
	// Logprobs are the natural log-probability of each, where [Request] asks for them.
	Logprobs []float32
}

// Finished says that the answer is complete.
type Finished struct {
	FinishReason FinishReason
	MatchedStop  string
	Receipt      Receipt
}

func (Started) event()  {}
func (Delta) event()    {}
func (Finished) event() {}

// eventOf gives nil for an event of a later service.
func eventOf(m *decoderv1.GenerateResponse) Event {
	switch e := m.Event.(type) {
	case *decoderv1.GenerateResponse_Started:
		s := e.Started
		return Started{s.RequestId, s.Model, int(s.PromptTokens), int(s.VisualTokens)}
	case *decoderv1.GenerateResponse_Delta:
		return Delta{e.Delta.Text, e.Delta.TokenIds, e.Delta.Logprobs}
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
		Receipt:      receiptOf(m.Receipt),
	}
}

func finishOf(reason decoderv1.FinishReason) FinishReason {
	return FinishReason(plainName(reason.String(), "FINISH_REASON_"))
}
