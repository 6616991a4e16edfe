package fovea

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

func TestRowsOfAnotherModelAreRefused(t *testing.T) {
	pair := narrow(t) // its encoder serves another model
	decoder, encoder := Dial(pair.decoder.address), DialEncoder(pair.encoder.address)
	defer decoder.Close()
	defer encoder.Close()
	ctx := context.Background()
	_, err := decoder.Ask(ctx, Question("Which bar is the tallest?", File(ChartOfTheTests)))
	if failed := failure(t, err, ReasonEncoderMismatch); failed.Code != codes.FailedPrecondition || failed.Metadata["encoder"] != "" {
		t.Errorf("%+v", failed)
	}
	info, err := decoder.Info(ctx)
	if err != nil || len(info.Encoders) != 1 || !info.Encoders[0].Reachable || info.Encoders[0].Compatible {
		t.Errorf("%+v, %v", info, err)
	}
	stored, err := encoder.Put(ctx, File(ChartOfTheTests))
	if err != nil {
		t.Fatal(err)
	}
	_, err = encoder.Encode(ctx, stored.Facts.ID, EncodePlan{Fingerprint: info.Fingerprint})
	failure(t, err, ReasonEncoderMismatch)
}

func TestAFullEngineSaysWhenToComeBack(t *testing.T) {
	client := Dial(narrow(t).decoder.address) // one request runs, one waits
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 2 {
		go client.Ask(ctx, wordy(500))
	}
	until(t, "one runs and one waits", func() bool {
		info, err := client.Info(ctx)
		return err == nil && info.Load.Running == 1 && info.Load.Waiting == 1
	})
	_, err := client.Ask(ctx, wordy(1))
	failed := failure(t, err, ReasonEngineBusy)
	if failed.Code != codes.ResourceExhausted || failed.RetryAfter <= 0 || failed.Metadata["limit"] != "1" {
		t.Errorf("%+v", failed)
	}
	cancel()
	untilFree(t, client)
}

func TestAFullEncoderSaysWhenToComeBack(t *testing.T) {
	client := DialEncoder(narrow(t).encoder.address) // one image waits for the tower
	defer client.Close()
	ctx := context.Background()
	results := make(chan error)
	var ids []string
	for i := range 8 {
		file := flat(800+32*i, 800)
		_, gone := client.Delete(ctx, ID(file)) // and its rows, which would be a hit
		stored, err := client.Put(ctx, Bytes(file))
		if err := errors.Join(gone, err); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, stored.Facts.ID)
	}
	for _, id := range ids {
		go func() {
			_, err := client.Encode(ctx, id, EncodePlan{})
			results <- err
		}()
	}
	busy, served := 0, 0
	for range 8 {
		err := <-results
		if err == nil {
			served++
			continue
		}
		busy++
		if failed := failure(t, err, ReasonEncoderBusy); failed.Code != codes.ResourceExhausted || failed.RetryAfter <= 0 {
			t.Errorf("%+v", failed)
		}
	}
	if busy == 0 || served == 0 {
		t.Errorf("%d were served, %d refused", served, busy)
	}
}

func TestAnImageLargerThanTheStoreIsRefused(t *testing.T) {
	client := DialEncoder(narrow(t).encoder.address) // keeps 1 MiB
	defer client.Close()
	_, err := client.Put(context.Background(), Bytes(pngOf(noise(800, 700, 41))))
	if failed := failure(t, err, ReasonStoreFull); failed.Code != codes.ResourceExhausted || failed.RetryAfter != 0 {
		t.Errorf("%+v", failed)
	}
}

// Stops the stranger's encoder and starts it again, so it is the last of the file.
func TestADecoderWithoutAnEncoderAndAnEncoderThatLoads(t *testing.T) {
	pair := narrow(t)
	client := Dial(pair.decoder.address, WithDialOptions(grpc.WithDisableRetry()))
	defer client.Close()
	ctx := context.Background()
	pair.encoder.stop()
	_, err := client.Ask(ctx, Question("?", File(ChartOfTheTests)))
	failed := failure(t, err, ReasonEncoderUnavailable)
	if failed.Code != codes.Unavailable || failed.RetryAfter <= 0 || failed.Metadata["encoder"] != "" {
		t.Errorf("%+v", failed)
	}
	pair.encoder.start()
	until(t, "the encoder answers", func() bool {
		encoder := DialEncoder(pair.encoder.address, WithDialOptions(grpc.WithDisableRetry())) // a new one tries at once
		defer encoder.Close()
		_, err = encoder.CountTokens(ctx, Size{640, 480}, 0)
		return ReasonOf(err) != ReasonUnavailable
	})
	failed = failure(t, err, ReasonNotReady) // it imports its libraries after it has begun to listen
	if failed.Code != codes.Unavailable || failed.RetryAfter <= 0 || failed.Metadata["progress"] == "" {
		t.Errorf("%+v", failed)
	}
	pair.encoder.ready(t)
}
