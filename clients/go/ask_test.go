package fovea

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// wordy asks for an answer of hundreds of tokens: nearly every token is equally likely, the end among them.
func wordy(tokens int) Request {
	request := Question("Tell me a long story.")
	request.Sampling = Sampling{Temperature: 100, Seed: new(uint32(2)), MaxNewTokens: tokens}
	return request
}

type asked struct{ File, Question, Answer string }

// sampleQuestions are those of the stand-in's samples, with their right answers.
func sampleQuestions(t *testing.T) []asked {
	t.Helper()
	var pictures []struct {
		File      string
		Questions []asked
	}
	text, err := os.ReadFile(samples + "/samples.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &pictures); err != nil {
		t.Fatal(err)
	}
	var all []asked
	for _, picture := range pictures {
		for _, q := range picture.Questions {
			all = append(all, asked{samples + "/" + picture.File, q.Question, q.Answer})
		}
	}
	return all
}

func TestTheSamplesAreAnsweredRightAndEncodedOnce(t *testing.T) {
	client := dialHouse(t)
	ctx := context.Background()
	seen := map[string]bool{}
	for _, q := range sampleQuestions(t) {
		if !seen[q.File] {
			forget(t, must(os.ReadFile(q.File)))
		}
		answer, err := client.Ask(ctx, Question(q.Question, File(q.File)))
		if err != nil {
			t.Fatal(err)
		}
		if answer.Text != q.Answer || answer.FinishReason != FinishStop || answer.RequestID == "" {
			t.Errorf("%s %s: %+v", q.File, q.Question, answer)
		}
		source, encodes := answer.Receipt.Images[0].Source, answer.Receipt.Totals.Encodes
		if !seen[q.File] && (source != SourceEncoded || encodes != 1) {
			t.Errorf("the first question about %s: rows %s, %d encodes", q.File, source, encodes)
		}
		if seen[q.File] && (source != SourceRows || encodes != 0) {
			t.Errorf("a later question about %s: rows %s, %d encodes", q.File, source, encodes)
		}
		seen[q.File] = true
	}
}

func TestAReceiptAddsUp(t *testing.T) {
	client := dialHouse(t)
	chart, table := File(ChartOfTheTests), File(samples+"/table.png")
	answer, err := client.Ask(context.Background(), Question("What is this picture?", chart, table, chart))
	if err != nil {
		t.Fatal(err)
	}
	r := answer.Receipt
	tokens, wire := 0, 0
	for _, image := range r.Images {
		tokens, wire = tokens+image.Tokens, wire+image.WireBytes
		if image.Patches != 4*image.Tokens || image.Grid.H*image.Grid.W != image.Patches || image.Planned != image.Original {
			t.Errorf("%+v", image)
		}
		encoder := "encoder-0"
		if image.RepeatOf >= 0 {
			encoder = "" // its rows lay in the decoder's memory
		}
		if image.RowBytes != image.Tokens*1024 || image.Dtype != "bf16" || image.Encoder != encoder {
			t.Errorf("%+v", image)
		}
	}
	if r.Totals.VisualTokens != tokens || r.Totals.WireBytes != int64(wire) || tokens != 48+35+48 {
		t.Errorf("%d tokens and %d bytes, in all %+v", tokens, wire, r.Totals)
	}
	if places := []int{r.Images[0].RepeatOf, r.Images[1].RepeatOf, r.Images[2].RepeatOf}; !slices.Equal(places, []int{-1, -1, 0}) {
		t.Errorf("repeats of %v", places)
	}
	if r.Stages.Total < r.Stages.FirstToken || r.Stages.FirstToken <= 0 || r.Stages.Prefill <= 0 || len(r.Tiers) != 1 {
		t.Errorf("%+v", r)
	}
	for _, word := range []string{r.Images[0].ID[:19], "256x192", "rows", "131 visual", "first token"} {
		if !strings.Contains(r.String(), word) {
			t.Errorf("%q is not in\n%s", word, r)
		}
	}
}

func TestAStreamedAnswerIsTheWholeOne(t *testing.T) {
	client := dialHouse(t)
	request := wordy(40)
	whole, err := client.Ask(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	request.ID = "streamed"
	var kinds, text strings.Builder
	tokens := 0
	for event, err := range client.Stream(context.Background(), request) {
		switch e := event.(type) {
		case Started:
			kinds.WriteString("s")
			if e.RequestID != "streamed" || e.PromptTokens != whole.Receipt.Totals.TextTokens || e.VisualTokens != 0 {
				t.Errorf("%+v", e)
			}
		case Delta:
			kinds.WriteString("d")
			text.WriteString(e.Text)
			tokens += len(e.TokenIDs)
		case Finished:
			kinds.WriteString("f")
			if e.FinishReason != FinishLength || e.Receipt.Totals.OutputTokens != 40 {
				t.Errorf("%+v", e)
			}
		default:
			t.Fatal(err)
		}
	}
	if order := strings.Trim(kinds.String(), "d"); order != "s"+strings.Repeat("d", kinds.Len()-2)+"f" {
		t.Errorf("events came as %s", kinds.String())
	}
	if text.String() != whole.Text || tokens != 40 || whole.Text == "" {
		t.Errorf("%d tokens %q, whole %q", tokens, text.String(), whole.Text)
	}
}

func TestSamplingReachesTheService(t *testing.T) {
	client := dialHouse(t)
	ask := func(change func(*Sampling)) *Answer {
		t.Helper()
		request := wordy(12)
		change(&request.Sampling)
		answer, err := client.Ask(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	same := ask(func(*Sampling) {})
	if again := ask(func(*Sampling) {}); again.Text != same.Text {
		t.Errorf("one seed gives %q and %q", same.Text, again.Text)
	}
	if other := ask(func(s *Sampling) { s.Seed = new(uint32(3)) }); other.Text == same.Text {
		t.Errorf("two seeds give %q", same.Text)
	}
	greedy := ask(func(s *Sampling) { s.TopK = 1 })
	for name, change := range map[string]func(*Sampling){
		"top_p": func(s *Sampling) { s.TopP = 1e-9 }, "min_p": func(s *Sampling) { s.MinP = 1 },
		"temperature": func(s *Sampling) { s.Temperature = 0 },
	} {
		if got := ask(change); got.Text != greedy.Text {
			t.Errorf("by %s the likeliest is %q, by top_k %q", name, got.Text, greedy.Text)
		}
	}
	letters := []rune(same.Text)
	stop := string(letters[len(letters)/2:])
	stopped := ask(func(s *Sampling) { s.Stop = []string{stop} })
	if stopped.FinishReason != FinishStop || stopped.MatchedStop != stop || stopped.Text+stop != same.Text {
		t.Errorf("%+v of %q", stopped, same.Text)
	}
}

func TestAConversationKeepsItsParts(t *testing.T) {
	client := dialHouse(t)
	request := Request{MaxPixels: 65_536, Messages: []Message{
		System("Answer in one word."),
		User(Text("First"), File(ChartOfTheTests), Text("then"), File(samples+"/scene.jpg"), Text("What is this picture?")),
		Assistant("chart"),
		User(File(ChartOfTheTests), Text("Which bar is the tallest?")),
	}}
	count, err := client.CountTokens(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Ask(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	r := answer.Receipt
	if len(r.Images) != 3 || r.Images[0].ID == r.Images[1].ID || r.Images[2].RepeatOf != 0 {
		t.Errorf("%+v", r.Images)
	}
	if count.TextTokens != r.Totals.TextTokens || count.VisualTokens != r.Totals.VisualTokens || !count.FitsContext ||
		count.PromptTokens != count.TextTokens+count.VisualTokens || count.KVBytes != int64(count.PromptTokens*2048) {
		t.Errorf("counted %+v, spent %+v", count, r.Totals)
	}
	for i, image := range count.Images {
		if image.Tokens != r.Images[i].Tokens || image.Planned != r.Images[i].Planned || image.Planned.pixels() > 65_536 {
			t.Errorf("image %d: %+v", i, image)
		}
	}
}

func TestTwentyCallsAtOnce(t *testing.T) {
	client := dialHouse(t)
	questions := sampleQuestions(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			q := questions[i%len(questions)]
			answer, err := client.Ask(context.Background(), Question(q.Question, File(q.File)))
			if err != nil || answer.Text != q.Answer {
				t.Errorf("%s: %+v, %v", q.Question, answer, err)
			}
		})
	}
	group.Wait()
}

// drain reads a stream to its end.
func drain(client *Client, request Request) error {
	for _, err := range client.Stream(context.Background(), request) {
		if err != nil {
			return err
		}
	}
	return nil
}
