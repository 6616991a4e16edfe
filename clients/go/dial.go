package fovea

import (
	"context"
	"crypto/tls"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// DefaultTimeout is the deadline of a call whose context has none, unless [WithTimeout] sets another.
const DefaultTimeout = 2 * time.Minute

// retryBytes is the largest call that gRPC keeps for a retry. Services accept messages of 32 MiB. With gRPC's own
// 256 KiB, larger requests would not be retried.
const retryBytes = 33 << 20

// serviceConfig spreads calls over all addresses of a name and retries UNAVAILABLE, after the delay that the
// service asks for or after a backoff. The backoffs together outlast maxReconnect, so a call during a restart
// succeeds. Retries stop on a channel on which most calls fail.
const serviceConfig = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
	"methodConfig": [{
		"name": [{}],
		"waitForReady": false,
		"retryPolicy": {
			"maxAttempts": 4,
			"initialBackoff": "0.5s",
			"maxBackoff": "5s",
			"backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}]
}`

// maxReconnect is the longest reconnect backoff. gRPC's own two minutes would outlast a restart.
const maxReconnect = 2 * time.Second

// An Option configures [Dial] and [DialEncoder].
type Option func(*dialing)

type dialing struct {
	timeout     time.Duration
	credentials credentials.TransportCredentials
	options     []grpc.DialOption
}

// WithTimeout sets the deadline of every call whose context has none. A call is a method of a client: for
// [Client.Ask] the uploads and the answer together.
func WithTimeout(timeout time.Duration) Option {
	return func(d *dialing) { d.timeout = timeout }
}

// WithToken sends `authorization: Bearer token` with every call. Without [WithTLS] the token is readable on the
// network.
func WithToken(token string) Option {
	return WithDialOptions(grpc.WithPerRPCCredentials(bearer(token)))
}

// WithTLS encrypts the connection. nil uses the system's roots. The default is plaintext.
func WithTLS(config *tls.Config) Option {
	return func(d *dialing) { d.credentials = credentials.NewTLS(config) }
}

// WithDialOptions passes options to gRPC after those of this package: interceptors, tracing, a custom dialer.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(d *dialing) { d.options = append(d.options, options...) }
}

// bearer implements gRPC's per-RPC credentials with a token.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// link is a channel to a service. It is independent of RPCs. The receive limit stays at gRPC's 4 MiB, because no
// response needs more.
type link struct {
	channel grpc.ClientConnInterface
	timeout time.Duration
	close   func() error
}

func dial(address string, options []Option) link {
	d := dialing{timeout: DefaultTimeout, credentials: insecure.NewCredentials()}
	for _, option := range options {
		option(&d)
	}
	patience := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnect}
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(d.credentials),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // one from DNS would replace ours
		grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(retryBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: patience, MinConnectTimeout: 10 * time.Second}),
		// Services allow a ping every 30 seconds, also between calls.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: time.Minute, Timeout: 20 * time.Second, PermitWithoutStream: true,
		}),
	}, d.options...)
	channel, err := grpc.NewClient(address, all...)
	if err != nil {
		return link{broken{invalid("address", err.Error())}, d.timeout, func() error { return nil }}
	}
	return link{channel, d.timeout, channel.Close}
}

// bound adds the default deadline to a context without a deadline. The caller must call cancel.
func (l link) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, l.timeout)
}

// broken is the channel to an invalid address. Every call fails.
type broken struct{ err error }

func (b broken) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return b.err }

func (b broken) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, b.err
}
