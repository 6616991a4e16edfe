package fovea

import (
	"context"
	"slices"
	"testing"
)

func TestDeletionsNameTheEncodersThatDidNotConfirm(t *testing.T) {
	front := &double{}
	client := dialDouble(t, front.start(t))
	want := []EncoderDeletion{
		{Encoder: "a:1", Confirmed: true, Deleted: Deleted{1, 2, 4096, AfterCompaction}},
		{Encoder: "b:1", Reason: ReasonEncoderUnavailable},
	}
	image, err := client.Delete(context.Background(), "sha256:00")
	if err != nil || !slices.Equal(image, want) {
		t.Errorf("%+v, %v", image, err)
	}
	tenant, err := client.PurgeTenant(context.Background(), "acme")
	if err != nil || !slices.Equal(tenant, want) {
		t.Errorf("%+v, %v", tenant, err)
	}
	if !slices.Equal(front.deleted, []string{"sha256:00", "acme"}) {
		t.Error(front.deleted)
	}
}
