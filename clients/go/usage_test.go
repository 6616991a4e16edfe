package fovea

import (
	"context"
	"testing"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// A bookkeeper has three records on two pages.
type bookkeeper struct {
	decoderv1.UnimplementedUsageServiceServer
	asked *decoderv1.UsageFilter
	by    decoderv1.UsageDimension
}

var began = time.Unix(1_700_000_000, 5000).UTC()

func (b *bookkeeper) record(id string) *decoderv1.UsageRecord {
	return &decoderv1.UsageRecord{
		Id: id, RequestId: "r", Tenant: "acme", StartTime: timestamppb.New(began), Method: "Generate", Model: "m",
		Outcome: decoderv1.Outcome_OUTCOME_DEADLINE, Reason: "X",
		Receipt: &decoderv1.Receipt{Totals: &decoderv1.ReceiptTotals{OutputTokens: 7}},
	}
}

func (b *bookkeeper) ListUsage(_ context.Context, r *decoderv1.ListUsageRequest) (*decoderv1.ListUsageResponse, error) {
	b.asked = r.Filter
	switch r.PageToken {
	case "":
		records := []*decoderv1.UsageRecord{b.record("1"), b.record("2")}
		return &decoderv1.ListUsageResponse{Records: records, NextPageToken: "next"}, nil
	case "next":
		return &decoderv1.ListUsageResponse{Records: []*decoderv1.UsageRecord{b.record("3")}}, nil
	}
	return nil, refusal(codes.InvalidArgument, ReasonInvalidArgument, 0)
}

func (b *bookkeeper) GetUsage(_ context.Context, r *decoderv1.GetUsageRequest) (*decoderv1.GetUsageResponse, error) {
	if r.RequestId != "r" {
		return nil, refusal(codes.Unavailable, ReasonLedgerUnavailable, 0)
	}
	return &decoderv1.GetUsageResponse{Records: []*decoderv1.UsageRecord{b.record("1")}}, nil
}

func (b *bookkeeper) SummarizeUsage(_ context.Context, r *decoderv1.SummarizeUsageRequest) (*decoderv1.SummarizeUsageResponse, error) {
	b.by = r.By
	sum := &decoderv1.UsageSummary{Key: "photo", Requests: 3, Deadline: 3, VisualTokens: 1 << 40, Amount: 0.5, Currency: "EUR"}
	return &decoderv1.SummarizeUsageResponse{Summaries: []*decoderv1.UsageSummary{sum}}, nil
}

func TestTheLedgerIsReadPageByPage(t *testing.T) {
	books := &bookkeeper{}
	server := grpc.NewServer()
	decoderv1.RegisterUsageServiceServer(server, books)
	client := dialDouble(t, listen(t, server))
	var ids string
	for record, err := range client.ListUsage(t.Context(), UsageFilter{Start: began, Outcome: OutcomeDeadline}) {
		if err != nil {
			t.Fatal(err)
		}
		ids += record.ID
		if record.Outcome != OutcomeDeadline || !record.Start.Equal(began) || record.Receipt.Totals.OutputTokens != 7 {
			t.Errorf("%+v", record)
		}
	}
	if ids != "123" {
		t.Errorf("records %s", ids)
	}
	if books.asked.Outcome != decoderv1.Outcome_OUTCOME_DEADLINE || books.asked.EndTime != nil {
		t.Errorf("asked for %v", books.asked)
	}
	records, err := client.GetUsage(t.Context(), "r")
	if err != nil || len(records) != 1 || records[0].Reason != "X" {
		t.Errorf("%v, %v", records, err)
	}
	_, err = client.GetUsage(t.Context(), "other")
	failure(t, err, ReasonLedgerUnavailable)
	sums, err := client.SummarizeUsage(t.Context(), ByImageKind, UsageFilter{})
	if err != nil || len(sums) != 1 || sums[0].VisualTokens != 1<<40 || sums[0].Price.Currency != "EUR" {
		t.Errorf("%v, %v", sums, err)
	}
	if books.by != decoderv1.UsageDimension_USAGE_DIMENSION_IMAGE_KIND {
		t.Errorf("summed up by %v", books.by)
	}
}
