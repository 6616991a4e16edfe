package fovea

import (
	"context"
	"iter"
	"strings"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// An Outcome says how a request ended.
type Outcome string

// The outcomes. With OutcomeLength the answer reached MaxNewTokens.
const (
	OutcomeOK        Outcome = "ok"
	OutcomeLength    Outcome = "length"
	OutcomeCancelled Outcome = "cancelled"
	OutcomeDeadline  Outcome = "deadline"
	OutcomeRefused   Outcome = "refused"
	OutcomeFailed    Outcome = "failed"
)

// A Dimension is what usage is summed up by.
type Dimension string

// The dimensions. An empty Dimension makes a single sum.
const (
	ByTenant    Dimension = "tenant"
	ByTier      Dimension = "tier"
	ByHour      Dimension = "hour"
	ByModel     Dimension = "model"
	ByImageKind Dimension = "image_kind"
)

// A UsageRecord is what a request has used, however it ended.
type UsageRecord struct {
	// ID is unique. Several requests may share a RequestID.
	ID, RequestID, ParentRequestID string
	Tenant                         string
	Start                          time.Time
	// Method is Generate or Complete.
	Method  string
	Outcome Outcome
	// Reason is that of a refusal or failure, otherwise empty.
	Reason Reason
	Model  string
	// Receipt is what a request that was cut had used by then.
	Receipt Receipt
}

// A UsageFilter says which records to read. Its zero value says all that the caller may read.
type UsageFilter struct {
	// Start and End bound when requests began: from Start, before End.
	Start, End time.Time
	// Tenant is for operators; others read their own records only.
	Tenant  string
	Outcome Outcome
}

// A UsageSummary is the sum of the records that share a key and a currency.
type UsageSummary struct {
	Key                                                        string
	Requests, OK, Length, Cancelled, Deadline, Refused, Failed int
	TextTokens, VisualTokens, NaiveVisualTokens                int64
	CachedPromptTokens, OutputTokens                           int64
	Encodes                                                    int
	WireBytes                                                  int64
	Price                                                      Price
}

// SummarizeUsage sums up the ledger, in the order of the keys.
func (c *Client) SummarizeUsage(ctx context.Context, by Dimension, filter UsageFilter) ([]UsageSummary, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	dimension := decoderv1.UsageDimension_value["USAGE_DIMENSION_"+strings.ToUpper(string(by))]
	request := &decoderv1.SummarizeUsageRequest{Filter: filter.message(), By: decoderv1.UsageDimension(dimension)}
	reply, err := c.usage.SummarizeUsage(ctx, request)
	if err != nil {
		return nil, errorOf(err)
	}
	sums := make([]UsageSummary, len(reply.Summaries))
	for i, m := range reply.Summaries {
		sums[i] = summaryOf(m)
	}
	return sums, nil
}

// ListUsage lists the records of the ledger, newest first. Pages are fetched as the loop needs them. An error is the
// last item.
func (c *Client) ListUsage(ctx context.Context, filter UsageFilter) iter.Seq2[UsageRecord, error] {
	return func(yield func(UsageRecord, error) bool) {
		for page, more := "", true; more; more = page != "" {
			reply, err := c.usagePage(ctx, filter, page)
			if err != nil {
				yield(UsageRecord{}, errorOf(err))
				return
			}
			for _, m := range reply.Records {
				if !yield(recordOf(m), nil) {
					return
				}
			}
			page = reply.NextPageToken
		}
	}
}

// GetUsage returns the records of a request id, newest first, also of requests that were cancelled or failed.
func (c *Client) GetUsage(ctx context.Context, requestID string) ([]UsageRecord, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.usage.GetUsage(ctx, &decoderv1.GetUsageRequest{RequestId: requestID})
	if err != nil {
		return nil, errorOf(err)
	}
	records := make([]UsageRecord, len(reply.Records))
	for i, m := range reply.Records {
		records[i] = recordOf(m)
	}
	return records, nil
}

func (c *Client) usagePage(ctx context.Context, f UsageFilter, page string) (*decoderv1.ListUsageResponse, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	return c.usage.ListUsage(ctx, &decoderv1.ListUsageRequest{Filter: f.message(), PageToken: page})
}

func (f UsageFilter) message() *decoderv1.UsageFilter {
	outcome := decoderv1.Outcome_value["OUTCOME_"+strings.ToUpper(string(f.Outcome))]
	m := &decoderv1.UsageFilter{Tenant: f.Tenant, Outcome: decoderv1.Outcome(outcome)}
	if !f.Start.IsZero() {
		m.StartTime = timestamppb.New(f.Start)
	}
	if !f.End.IsZero() {
		m.EndTime = timestamppb.New(f.End)
	}
	return m
}

func recordOf(m *decoderv1.UsageRecord) UsageRecord {
	outcome := strings.ToLower(strings.TrimPrefix(m.Outcome.String(), "OUTCOME_"))
	return UsageRecord{
		m.Id, m.RequestId, m.ParentRequestId, m.Tenant, m.StartTime.AsTime(), m.Method, Outcome(outcome), Reason(m.Reason),
		m.Model, receiptOf(m.GetReceipt()),
	}
}

func summaryOf(m *decoderv1.UsageSummary) UsageSummary {
	return UsageSummary{
		m.Key, int(m.Requests), int(m.Ok), int(m.Length), int(m.Cancelled), int(m.Deadline), int(m.Refused), int(m.Failed),
		int64(m.TextTokens), int64(m.VisualTokens), int64(m.NaiveVisualTokens), int64(m.CachedPromptTokens),
		int64(m.OutputTokens), int(m.Encodes), int64(m.WireBytes), Price{m.Amount, m.Currency, m.NaiveAmount},
	}
}
