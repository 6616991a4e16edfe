package fovea

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// untilFree waits until nothing runs or waits in the house's decoder, and no KV block is held.
func untilFree(t *testing.T, client *Client) {
	t.Helper()
	until(t, "the decoder has given everything back", func() bool {
		info, err := client.Info(context.Background())
		return err == nil && info.Load == Load{KVBlocks: info.Load.KVBlocks}
	})
}

// speaks begins a long answer and leaves it to leave after its first words.
func speaks(t *testing.T, client *Client, ctx context.Context, leave func()) error {
	t.Helper()
	for event, err := range client.Stream(ctx, wordy(500)) {
		if err != nil {
			return err
		}
		if delta, ok := event.(Delta); ok && delta.Text != "" {
			info, err := client.Info(context.Background())
			if err != nil || info.Load.Running != 1 || info.Load.KVBlocksUsed == 0 {
				t.Errorf("while it speaks: %+v, %v", info, err)
			}
			if leave == nil {
				break
			}
			leave()
			leave = func() {}
		}
	}
	return nil
}

func TestACancelledCallGivesItsSlotBack(t *testing.T) {
	client := dialHouse(t)
	ctx, cancel := context.WithCancel(context.Background())
	err := speaks(t, client, ctx, cancel)
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Reason != ReasonAborted || failed.Code != codes.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	untilFree(t, client)
}

func TestLeavingTheLoopGivesTheSlotBack(t *testing.T) {
	client := dialHouse(t)
	if err := speaks(t, client, context.Background(), nil); err != nil {
		t.Error(err)
	}
	untilFree(t, client)
}

func TestAPassedDeadlineGivesTheSlotBack(t *testing.T) {
	client := dialHouse(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, whole := client.Ask(ctx, wordy(500))
	impatient := dialHouse(t, WithTimeout(300*time.Millisecond)) // a context without a deadline gets this one
	_, byDefault := impatient.Ask(context.Background(), wordy(500))
	for _, err := range []error{whole, byDefault, drain(impatient, wordy(500))} {
		if ReasonOf(err) != ReasonDeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
	untilFree(t, client)
}

func TestADeadlineOfTheCallerOutlastsTheDefault(t *testing.T) {
	client := dialHouse(t, WithTimeout(time.Nanosecond))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := client.Ask(ctx, wordy(2)); err != nil {
		t.Error(err)
	}
}

func TestASlowReaderGetsTheWholeAnswer(t *testing.T) {
	client := dialHouse(t)
	whole, err := client.Ask(context.Background(), wordy(60))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	finished := false
	for event, err := range client.Stream(context.Background(), wordy(60)) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case Delta:
			text.WriteString(e.Text)
			time.Sleep(50 * time.Millisecond)
		case Finished:
			finished = true
		}
	}
	if !finished || text.String() != whole.Text {
		t.Errorf("finished is %v, %q is not %q", finished, text.String(), whole.Text)
	}
}

// One client goes on through the restart of both services, and the rows survive theirs.
func TestOneClientOutlivesRestarts(t *testing.T) {
	pair := house(t)
	client := dialHouse(t)
	ctx := context.Background()
	question := Question("Which bar is the tallest?", File(ChartOfTheTests))
	if _, err := client.Ask(ctx, question); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*service{pair.encoder, pair.decoder} {
		s.stop()
		s.start()
		s.ready(t)
		answer, err := client.Ask(ctx, question)
		if err != nil {
			t.Fatalf("after the restart of %s: %v", s.module, err)
		}
		if answer.Text != "yellow" || answer.Receipt.Images[0].Source != SourceRows || answer.Receipt.Totals.Encodes != 0 {
			t.Errorf("after the restart of %s: %+v", s.module, answer)
		}
	}
}

func TestAServiceThatIsDownIsUnavailable(t *testing.T) {
	client := Dial(freeAddress())
	defer client.Close()
	_, err := client.Info(context.Background())
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Reason != ReasonUnavailable || failed.Code != codes.Unavailable || failed.RequestID != "" {
		t.Errorf("%+v", err)
	}
}

func TestAnAddressThatCannotBeOneFailsTheCalls(t *testing.T) {
	client, encoder := Dial("nowhere:///a\x00b"), DialEncoder("\x00://")
	ctx := context.Background()
	_, askErr := client.Ask(ctx, wordy(1))
	_, infoErr := encoder.Info(ctx)
	for _, err := range []error{askErr, infoErr, drain(client, wordy(1))} {
		if ReasonOf(err) != ReasonInvalidArgument && ReasonOf(err) != ReasonUnavailable {
			t.Errorf("%v", err)
		}
	}
	if err := errors.Join(client.Close(), encoder.Close()); err != nil {
		t.Error(err)
	}
}

func TestANameOfDNSIsAnAddress(t *testing.T) {
	_, port, _ := strings.Cut(house(t).decoder.address, ":")
	client := Dial("dns:///localhost:" + port)
	defer client.Close()
	if info, err := client.Info(context.Background()); err != nil || info.State != StateServing {
		t.Errorf("%+v, %v", info, err)
	}
}
