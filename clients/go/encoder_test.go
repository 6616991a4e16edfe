package fovea

import (
	"context"
	"testing"
)

func TestRowsComeWholeAndAreAHitTheSecondTime(t *testing.T) {
	encoder := dialHouseEncoder(t)
	ctx := context.Background()
	file := jpegOf(slope(1200, 900)) // 1,050 rows of 1 KiB: two chunks
	stored, err := encoder.Put(ctx, Bytes(file))
	if err != nil {
		t.Fatal(err)
	}
	count, err := encoder.CountTokens(ctx, stored.Facts.Size, 0)
	if err != nil || count.Original != stored.Facts.Size {
		t.Fatalf("%+v, %v", count, err)
	}
	before, err := encoder.CacheStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	info, err := encoder.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := encoder.Encode(ctx, stored.Facts.ID, EncodePlan{Fingerprint: info.Fingerprint})
	if err != nil {
		t.Fatal(err)
	}
	if rows.Cost != count || rows.Count != count.Tokens || len(rows.Data) != count.RowBytes || len(rows.Data) <= 1<<20 {
		t.Errorf("%d rows in %d bytes, %+v, counted %+v", rows.Count, len(rows.Data), rows.Cost, count)
	}
	if rows.Source != SourceEncoded || rows.Layout != info.Layout || rows.Fingerprint != info.Fingerprint ||
		rows.Encoder != info.Name || rows.Digest != ID(rows.Data) || rows.Timings.Tower <= 0 {
		t.Errorf("%+v of %+v", rows.Layout, info)
	}
	again, err := encoder.Encode(ctx, stored.Facts.ID, EncodePlan{})
	if err != nil || again.Source != SourceRows || again.Digest != rows.Digest {
		t.Errorf("%v", err)
	}
	small, err := encoder.Encode(ctx, stored.Facts.ID, EncodePlan{MaxPixels: 65_536})
	if err != nil || small.Cost.Planned.pixels() > 65_536 {
		t.Errorf("%v", err)
	}
	until(t, "both records are in the store", func() bool { // rows are sent before they are stored
		after, err := encoder.CacheStats(ctx)
		return err == nil && after.Records == before.Records+2 && after.RecordBytes > before.RecordBytes &&
			after.Hits == before.Hits+1 && after.Misses == before.Misses+2
	})
	gone, err := encoder.Delete(ctx, stored.Facts.ID)
	if err != nil || gone.Uploads != 1 || gone.Records != 2 || gone.Bytes < int64(len(file)) {
		t.Errorf("%+v, %v", gone, err)
	}
	if gone, err := encoder.Delete(ctx, stored.Facts.ID); err != nil || gone.Uploads != 0 || gone.Records != 0 || gone.Bytes != 0 || gone.Erasure == "" {
		t.Errorf("%+v, %v", gone, err)
	}
	if _, err := encoder.Describe(ctx, stored.Facts.ID); ReasonOf(err) != ReasonImageNotStored {
		t.Errorf("a deleted image: %v", err)
	}
	if _, err := encoder.Encode(ctx, stored.Facts.ID, EncodePlan{}); ReasonOf(err) != ReasonImageNotStored {
		t.Errorf("rows of a deleted image: %v", err)
	}
}

func TestBothServicesTellWhatTheyAre(t *testing.T) {
	ctx := context.Background()
	decoder, err := dialHouse(t).Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := dialHouseEncoder(t).Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if decoder.State != StateServing || decoder.Progress != 1 || decoder.Model != "model" || decoder.Engine != "native" ||
		decoder.Limits.MaxContext != 2048 || decoder.Limits.MaxNewTokens != 512 || decoder.Load.KVBlocks == 0 ||
		decoder.KVBytesPerToken != 2048 || len(decoder.Features) == 0 || decoder.Version == "" || decoder.Dtype != "fp32" {
		t.Errorf("%+v", decoder)
	}
	if encoder.State != StateServing || encoder.Name != "encoder-0" || encoder.Device != "cpu" || encoder.Progress != 1 ||
		encoder.Limits.MaxImagePixels != 25_000_000 || encoder.Limits.CacheBytes != 4<<30 || encoder.Limits.MaxJPEGScans != 100 {
		t.Errorf("%+v", encoder)
	}
	if decoder.Fingerprint == "" || decoder.Fingerprint != encoder.Fingerprint || decoder.Layout != encoder.Layout ||
		decoder.Layout != (RowLayout{128, 3, "bf16", 1024}) {
		t.Errorf("%+v and %+v", decoder.About, encoder.About)
	}
	if len(decoder.Encoders) != 1 {
		t.Fatalf("%+v", decoder.Encoders)
	}
	peer := decoder.Encoders[0]
	if !peer.Reachable || !peer.Compatible || peer.Name != encoder.Name || peer.Fingerprint != encoder.Fingerprint ||
		peer.Address != house(t).encoder.address || peer.Encodes != encoder.Load.Encodes {
		t.Errorf("%+v", peer)
	}
}
