package fovea

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
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

// serviceConfig chooses one of several servers for each attempt of a call and retries UNAVAILABLE, after the delay that
// the service asks for or after a backoff. A server that begins to drain drops calls as CANCELLED; a call that its caller
// cancels is not retried. The backoffs together outlast maxReconnect, so a call during a restart
// succeeds. Retries stop on a channel on which most calls fail.
const serviceConfig = `{
	"loadBalancingConfig": [{"` + affinityPolicy + `": {}}],
	"retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
	"methodConfig": [{
		"name": [{}],
		"waitForReady": false,
		"retryPolicy": {
			"maxAttempts": 4,
			"initialBackoff": "0.5s",
			"maxBackoff": "5s",
			"backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
		}
	}]
}`

// maxReconnect is the longest reconnect backoff. gRPC's own two minutes would outlast a restart.
const maxReconnect = 2 * time.Second

// An Option configures [Dial] and [DialEncoder].
type Option func(*dialing)

type dialing struct {
	timeout     time.Duration
	token       bearer
	credentials credentials.TransportCredentials
	options     []grpc.DialOption
}

// WithTimeout sets the deadline of every call whose context has none. A call is a method of a client: for
// [Client.Ask] the uploads and the answer together.
func WithTimeout(timeout time.Duration) Option {
	return func(d *dialing) { d.timeout = timeout }
}

// WithToken sends `authorization: Bearer token` with every call. The empty token is none. Without TLS, calls to
// another machine fail, because anyone on the way could read the token.
func WithToken(token string) Option {
	return func(d *dialing) { d.token = bearer{text: token} }
}

// WithPlaintextToken is [WithToken] for networks that encrypt by themselves, such as a service mesh: it sends the
// token without TLS to any machine.
func WithPlaintextToken(token string) Option {
	return func(d *dialing) { d.token = bearer{text: token, plaintext: true} }
}

// WithTLS encrypts the connection. nil uses the system's roots. The default is plaintext.
func WithTLS(config *tls.Config) Option {
	return func(d *dialing) { d.credentials = credentials.NewTLS(config) }
}

// WithDialOptions passes options to gRPC after those of this package: interceptors, tracing, a custom dialer.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(d *dialing) { d.options = append(d.options, options...) }
}

// bearer implements gRPC's per-RPC credentials with a token. gRPC refuses to send it without TLS unless plaintext
// is set.
type bearer struct {
	text      string
	plaintext bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.text}, nil
}

func (b bearer) RequireTransportSecurity() bool { return !b.plaintext }

// check refuses a token that a header cannot carry.
func (b bearer) check() error {
	if strings.ContainsFunc(b.text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return invalid("token", "must be printable ASCII")
	}
	return nil
}

// isLoopback reports whether all servers of a target are on this machine. Names other than localhost count as remote.
func isLoopback(target string) bool {
	if first, rest, several := strings.Cut(target, ","); several {
		return isLoopback(strings.TrimSpace(first)) && isLoopback(strings.TrimSpace(rest))
	}
	if strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:") {
		return true
	}
	for _, scheme := range []string{"dns:///", "passthrough:///"} {
		target = strings.TrimPrefix(target, scheme)
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target // without a port
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

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
	channel, err := d.open(address)
	if err != nil {
		return link{broken{err}, d.timeout, func() error { return nil }}
	}
	return link{channel, d.timeout, channel.Close}
}

func (d dialing) open(address string) (*grpc.ClientConn, error) {
	patience := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnect}
	all := []grpc.DialOption{
		grpc.WithTransportCredentials(d.credentials),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // one from DNS would replace ours
		grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(retryBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: patience, MinConnectTimeout: 10 * time.Second}),
		// Services allow a ping every 30 seconds, also between calls.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: time.Minute, Timeout: 20 * time.Second, PermitWithoutStream: true,
		}),
	}
	if err := d.token.check(); err != nil {
		return nil, err
	}
	d.token.plaintext = d.token.plaintext || isLoopback(address)
	if d.token.text != "" {
		all = append(all, grpc.WithPerRPCCredentials(d.token))
	}
	target := address
	if strings.Contains(address, ",") {
		list, listTarget, err := listed(address)
		if err != nil {
			return nil, invalid("address", err.Error())
		}
		target, all = listTarget, append(all, grpc.WithResolvers(list))
	}
	channel, err := grpc.NewClient(target, append(all, d.options...)...)
	if err == nil {
		return channel, nil
	}
	if d.token.text != "" && !d.token.plaintext && d.credentials.Info().SecurityProtocol == "insecure" {
		what := fmt.Sprintf("is not sent to %s without TLS, because anyone on the way could read it", address)
		return nil, invalid("token", what)
	}
	return nil, invalid("address", err.Error())
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
