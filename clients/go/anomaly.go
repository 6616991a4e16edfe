package fovea

import (
	"context"
	"strings"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
)

// An AnomalyKind says what has changed in the use of a tenant.
type AnomalyKind string

// The kinds of anomalies: images of a kind cost many more visual tokens, many more images are new, the rows of many
// more images are neither stored nor in the KV cache, many more answers reach MaxNewTokens.
const (
	AnomalyCost      AnomalyKind = "cost"
	AnomalyNewImages AnomalyKind = "new_images"
	AnomalyMisses    AnomalyKind = "misses"
	AnomalyLength    AnomalyKind = "length"

	// AnomalySilentErrors: the tier to which a tier would have escalated contradicts more of its answers than its calibration explains.
	AnomalySilentErrors AnomalyKind = "silent_errors"
)

// An Anomaly is a change in the use of a tenant, and the request with which it was found.
type Anomaly struct {
	Kind      AnomalyKind
	Tenant    string
	Time      time.Time
	RequestID string
	// ImageKind is what the images mostly show. Empty unless Kind is AnomalyCost.
	ImageKind string
	// Usual and Value are visual tokens of an image if Kind is AnomalyCost, otherwise shares from 0 to 1.
	Usual, Value float64
	// Tier is set if Kind is AnomalySilentErrors. Tenant is then empty.
	Tier string
}

// ListAnomalies lists the anomalies that the decoder has found since its start, newest first. An empty tenant is the
// caller's own, or all for operators.
func (c *Client) ListAnomalies(ctx context.Context, tenant string) ([]Anomaly, error) {
	ctx, cancel := c.link.bound(ctx)
	defer cancel()
	reply, err := c.usage.ListAnomalies(ctx, &decoderv1.ListAnomaliesRequest{Tenant: tenant})
	if err != nil {
		return nil, errorOf(err)
	}
	return each(reply.Anomalies, anomalyOf), nil
}

func anomalyOf(m *decoderv1.Anomaly) Anomaly {
	kind := strings.ToLower(strings.TrimPrefix(m.Kind.String(), "ANOMALY_KIND_"))
	return Anomaly{
		AnomalyKind(kind), m.Tenant, m.Time.AsTime(), m.RequestId, m.ImageKind, m.Usual, m.Value, m.Tier,
	}
}
