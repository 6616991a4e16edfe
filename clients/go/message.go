package fovea

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
)

// A Request is a conversation to continue. [Question] makes a Request of a single question.
type Request struct {
	// Messages are the turns so far. The last is the user's or a tool's.
	Messages []Message
	// Sampling says how the answer is sampled.
	Sampling Sampling
	// MaxPixels is the most pixels of each image; 0 takes the service's default. It is short for that of Budget.
	MaxPixels int
	// Budget bounds the cost of the images.
	Budget Budget
	// Format constrains the answer. nil leaves it free.
	Format Format
	// Logprobs requests the log-probability of every token. TopLogprobs requests those of as many of the most likely
	// tokens at its position, at most 20.
	Logprobs    bool
	TopLogprobs int
	// ID identifies the request in logs and in the response. If empty, the service generates an id.
	ID string
	// IdempotencyKey names the call across its retries, which then count against a quota once.
	IdempotencyKey string
	// Quote is that of a [Count] of the same request. The request then costs no more, or fails with
	// [ReasonQuoteExceeded] before anything is spent.
	Quote *Quote
	// Tier names the tier that must answer. If empty, any tier may.
	Tier string
	// HopLimit is the most tiers that may run a model. 0 is no limit.
	HopLimit int
	// ParentRequestID is the id of the request that caused this one. It is only recorded.
	ParentRequestID string
	// AllowTextSubstitution lets text read from an image replace its pixels where that is cheaper.
	AllowTextSubstitution bool
	// Tools are the tools that the model may call, and ToolChoice says whether it does.
	Tools      []Tool
	ToolChoice ToolChoice
	// SingleToolCall allows at most a single tool call.
	SingleToolCall bool
	// Thinking switches reasoning on or off where the checkpoint can: new(false). nil leaves it to the checkpoint.
	Thinking *bool
	// ContinueFinalMessage makes the answer continue the last message, which is the assistant's.
	ContinueFinalMessage bool
}

// Question makes a request about images. The images come before the text, so that a second question about the same
// images reuses their prefix.
func Question(text string, images ...Source) Request {
	parts := make([]Part, 0, len(images)+1)
	for _, image := range images {
		parts = append(parts, image)
	}
	return Request{Messages: []Message{User(append(parts, Text(text))...)}}
}

// A Role is the speaker of a message.
type Role string

// The roles.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

var roles = map[Role]decoderv1.Role{
	RoleSystem:    decoderv1.Role_ROLE_SYSTEM,
	RoleUser:      decoderv1.Role_ROLE_USER,
	RoleAssistant: decoderv1.Role_ROLE_ASSISTANT,
	RoleTool:      decoderv1.Role_ROLE_TOOL,
}

// A Message is a turn of a conversation.
type Message struct {
	Role Role
	// Parts are in the order in which the model reads them.
	Parts []Part
	// ToolCalls and Reasoning are those of an earlier answer.
	ToolCalls []ToolCall
	Reasoning string
	// ToolCallID is the id of the call whose result this message is.
	ToolCallID string
}

// A Part is part of a message: [Text], a [Source], or for [Client.CountTokens] the [Size] of an image.
type Part interface{ part() }

// Text is plain text. Special tokens spelled in it are treated as text.
type Text string

func (Text) part() {}

// System makes a message of instructions. Only as the first message.
func System(text string) Message { return Message{Role: RoleSystem, Parts: []Part{Text(text)}} }

// User makes a message of the user.
func User(parts ...Part) Message { return Message{Role: RoleUser, Parts: parts} }

// Assistant makes a message of an earlier answer.
func Assistant(text string) Message { return Message{Role: RoleAssistant, Parts: []Part{Text(text)}} }

// Said makes a message of an earlier answer, with its tool calls and its reasoning.
func Said(answer *Answer) Message {
	m := Message{Role: RoleAssistant, ToolCalls: answer.ToolCalls, Reasoning: answer.Reasoning}
	if answer.Text != "" || len(answer.ToolCalls) == 0 {
		m.Parts = []Part{Text(answer.Text)}
	}
	return m
}

// Result makes a message of the result of a tool call.
func Result(call ToolCall, parts ...Part) Message {
	return Message{Role: RoleTool, Parts: parts, ToolCallID: call.ID}
}

// Sampling says how tokens are sampled. Its zero value is greedy, up to the service's default number of tokens.
// Each zero field takes its own default.
type Sampling struct {
	// Temperature 0 is greedy: the most likely token is always taken.
	Temperature float64
	// TopP samples from the most likely tokens that together reach this probability. 0 keeps all.
	TopP float64
	// TopK samples from the k most likely tokens. 0 keeps all.
	TopK int
	// MinP samples from tokens at least this fraction as likely as the most likely token.
	MinP float64
	// RepetitionPenalty penalises tokens that occurred before. 0 changes nothing.
	RepetitionPenalty float64
	// PresencePenalty is subtracted from the logits of tokens that the answer already has, FrequencyPenalty for each
	// time that it has them. -2 to 2.
	PresencePenalty, FrequencyPenalty float64
	// LogitBias is added to the logits of tokens, by token id. -100 to 100, at most 300 entries.
	LogitBias map[uint32]float32
	// CheckpointDefaults fills the parameters that are zero from the generation_config.json of the decoder's
	// checkpoint. A Temperature of 0.001 is greedy whatever the checkpoint says.
	CheckpointDefaults bool
	// Seed makes sampling repeatable: new(7). Without a seed it is random.
	Seed *uint32
	// Stop lists stop strings. The answer ends before the first of them.
	Stop []string
	// MaxNewTokens is the longest answer. 0 takes the service's default. A value above the service's limit is
	// refused.
	MaxNewTokens int
}

// draft is a request as it is sent, and the files that must be stored first. files holds their paths by the
// position of the image in the request, for instance `messages[0].parts[1].image`.
type draft struct {
	request *decoderv1.GenerateRequest
	uploads map[string]*upload
	files   map[string]string
}

// named adds the name of the file that was refused.
func (d *draft) named(err error) error {
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	for _, violation := range failed.Violations {
		if file := d.files[violation.Field]; file != "" {
			return aboutImage(err, file)
		}
	}
	return err
}

func newDraft(r Request) (*draft, error) {
	sampling, samplingErr := samplingTo(r.Sampling)
	visual, visualErr := r.visual()
	if err := cmp.Or(samplingErr, visualErr); err != nil {
		return nil, err
	}
	sent := &decoderv1.GenerateRequest{
		Sampling: sampling, RequestId: r.ID, IdempotencyKey: r.IdempotencyKey,
		Tier: r.Tier, HopLimit: uint32(max(0, r.HopLimit)), ParentRequestId: r.ParentRequestID,
		AllowTextSubstitution: r.AllowTextSubstitution,
		Tools:                 each(r.Tools, toolTo), ToolChoice: r.ToolChoice.message(),
		Thinking: r.Thinking, ContinueFinalMessage: r.ContinueFinalMessage,
	}
	if r.SingleToolCall {
		sent.ParallelToolCalls = new(false)
	}
	if r.Quote != nil {
		sent.Quote = r.Quote.Token
	}
	d := &draft{sent, map[string]*upload{}, map[string]string{}}
	d.request.Visual = visual
	if r.Format != nil {
		d.request.ResponseFormat = r.Format.format()
	}
	if r.Logprobs || r.TopLogprobs != 0 {
		top, err := count32("logprobs.top", r.TopLogprobs)
		if err != nil {
			return nil, err
		}
		d.request.Logprobs = &decoderv1.Logprobs{Top: top}
	}
	for at, message := range r.Messages {
		sent := &decoderv1.Message{
			Role: roles[message.Role], ToolCalls: each(message.ToolCalls, callTo),
			ToolCallId: message.ToolCallID, Reasoning: message.Reasoning,
		}
		for place, part := range message.Parts {
			if source, ok := part.(Source); ok && source.kind == ofFile {
				d.files[fmt.Sprintf("messages[%d].parts[%d].image", at, place)] = source.name
			}
			piece, err := d.part(part)
			if err != nil {
				return nil, err
			}
			sent.Parts = append(sent.Parts, piece)
		}
		d.request.Messages = append(d.request.Messages, sent)
	}
	return d, nil
}

// visual is the budget, merged with the shorthand next to it.
func (r Request) visual() (*decoderv1.VisualBudget, error) {
	budget := r.Budget
	if r.MaxPixels != 0 && budget.MaxPixels != 0 {
		return nil, invalid("visual.max_pixels", "stands in the budget already")
	}
	budget.MaxPixels = cmp.Or(budget.MaxPixels, r.MaxPixels)
	return budget.message()
}

func (d *draft) part(part Part) (*decoderv1.Part, error) {
	switch p := part.(type) {
	case Text:
		return &decoderv1.Part{Part: &decoderv1.Part_Text{Text: string(p)}}, nil
	case Source:
		image, err := d.image(p)
		return &decoderv1.Part{Part: &decoderv1.Part_Image{Image: image}}, err
	case Size:
		image, err := unseen(p)
		return &decoderv1.Part{Part: &decoderv1.Part_Image{Image: image}}, err
	default:
		return &decoderv1.Part{}, nil // the service names the place
	}
}

func (d *draft) image(source Source) (*decoderv1.Image, error) {
	switch source.kind {
	case ofInline:
		return &decoderv1.Image{Source: &decoderv1.Image_Data{Data: source.data}}, nil
	case ofID:
		return &decoderv1.Image{Source: &decoderv1.Image_Digest{Digest: source.name}}, nil
	}
	u, err := newUpload(source)
	if err != nil {
		return nil, err
	}
	d.uploads[u.id] = u
	return &decoderv1.Image{Source: &decoderv1.Image_Digest{Digest: u.id}}, nil
}

// unseen is an image of which only the size is known.
func unseen(size Size) (*decoderv1.Image, error) {
	width, wide := count32("size.width", size.Width)
	height, high := count32("size.height", size.Height)
	sent := &visionv1.Size{Width: width, Height: height}
	return &decoderv1.Image{Source: &decoderv1.Image_Size{Size: sent}}, cmp.Or(wide, high)
}

func samplingTo(s Sampling) (*decoderv1.Sampling, error) {
	topK, kErr := count32("sampling.top_k", s.TopK)
	maxNewTokens, maxErr := count32("sampling.max_new_tokens", s.MaxNewTokens)
	if err := cmp.Or(kErr, maxErr); err != nil {
		return nil, err
	}
	return &decoderv1.Sampling{
		Temperature:        float32(s.Temperature),
		TopP:               unlessZero(float32(s.TopP)),
		TopK:               topK,
		MinP:               float32(s.MinP),
		RepetitionPenalty:  unlessZero(float32(s.RepetitionPenalty)),
		PresencePenalty:    unlessZero(float32(s.PresencePenalty)),
		FrequencyPenalty:   unlessZero(float32(s.FrequencyPenalty)),
		LogitBias:          s.LogitBias,
		CheckpointDefaults: s.CheckpointDefaults,
		Seed:               s.Seed,
		Stop:               s.Stop,
		MaxNewTokens:       unlessZero(maxNewTokens),
	}, nil
}

// count32 converts n to the contract's type.
func count32(field string, n int) (uint32, error) {
	if n < 0 || int64(n) > math.MaxUint32 {
		return 0, invalid(field, fmt.Sprintf("must be between 0 and %d", uint32(math.MaxUint32)))
	}
	return uint32(n), nil
}

// unlessZero omits a field whose zero value stands for the service's default.
func unlessZero[N comparable](n N) *N {
	var zero N
	if n == zero {
		return nil
	}
	return &n
}
