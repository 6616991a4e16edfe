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

func (b *bookkeeper) ListAnomalies(_ context.Context, r *decoderv1.ListAnomaliesRequest) (*decoderv1.ListAnomaliesResponse, error) {
	if r.Tenant == "other" {
		return nil, refusal(codes.PermissionDenied, ReasonTenantNotAllowed, 0)
	}
	return &decoderv1.ListAnomaliesResponse{Anomalies: []*decoderv1.Anomaly{{
		Kind: decoderv1.AnomalyKind_ANOMALY_KIND_NEW_IMAGES, Tenant: r.Tenant, Time: timestamppb.New(began), RequestId: "r",
		Usual: 0.25, Value: 1,
	}}}, nil
}

func TestAnomaliesAreRead(t *testing.T) {
	server := grpc.NewServer()
	decoderv1.RegisterUsageServiceServer(server, &bookkeeper{})
	client := dialDouble(t, listen(t, server))
	anomalies, err := client.ListAnomalies(t.Context(), "acme")
	expected := Anomaly{AnomalyNewImages, "acme", began, "r", "", 0.25, 1, ""}
	if err != nil || len(anomalies) != 1 || anomalies[0] != expected {
		t.Errorf("%+v, %v", anomalies, err)
	}
	_, err = client.ListAnomalies(t.Context(), "other")
	failure(t, err, ReasonTenantNotAllowed)
}

func TestAQuoteIsSentBackWithTheRequest(t *testing.T) {
	quoted := &decoderv1.Quote{Token: "signed", MaxTokens: 65, MaxAmount: 0.5, Currency: "EUR", ExpireTime: timestamppb.New(began)}
	var sent *decoderv1.GenerateRequest
	client := dialDouble(t, (&double{
		count: func(r *decoderv1.CountTokensRequest) (*decoderv1.CountTokensResponse, error) {
			if r.Request.Quote != "" {
				t.Errorf("the first request has the quote %q", r.Request.Quote)
			}
			return &decoderv1.CountTokensResponse{Quote: quoted}, nil
		},
		complete: func(_ context.Context, r *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
			sent = r.Request
			return &decoderv1.CompleteResponse{}, nil
		},
	}).start(t))
	request := Question("?")
	request.IdempotencyKey = "order 7"
	count, err := client.CountTokens(t.Context(), request)
	if err != nil || count.Quote == nil || *count.Quote != (Quote{"signed", 65, 0.5, "EUR", began}) {
		t.Fatalf("%+v, %v", count.Quote, err)
	}
	request.Quote = count.Quote
	request.Tier, request.HopLimit, request.ParentRequestID = "large", 2, "parent"
	request.AllowTextSubstitution = true
	if _, err := client.Ask(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if sent.Quote != "signed" || sent.IdempotencyKey != "order 7" {
		t.Errorf("sent %v", sent)
	}
	if sent.Tier != "large" || sent.HopLimit != 2 || sent.ParentRequestId != "parent" || !sent.AllowTextSubstitution {
		t.Errorf("sent %v", sent)
	}
}
