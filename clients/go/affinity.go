package fovea

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

const (
	// affinityPolicy is the name of the balancer in service configs.
	affinityPolicy = "fovea_affinity"
	// listScheme is the scheme of a target that lists its addresses.
	listScheme = "fovea"
	// rest is how long a server is passed over that was unavailable.
	rest = time.Second
)

func init() { balancer.Register(affinityBuilder{}) }

// keyOfCall is the key of a context's value: the key by which a call chooses its server.
type keyOfCall struct{}

func withKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOfCall{}, key)
}

type affinityBuilder struct{}

func (affinityBuilder) Name() string { return affinityPolicy }

func (affinityBuilder) Build(cc balancer.ClientConn, options balancer.BuildOptions) balancer.Balancer {
	b := &affinity{
		ClientConn: cc,
		isListed:   options.Target.URL.Scheme == listScheme,
		servers:    map[string]*serverLoad{},
	}
	child := balancer.Get(pickfirst.Name).Build
	b.Balancer = endpointsharding.NewBalancer(b, options, child, endpointsharding.Options{})
	return b
}

// affinity sends calls with the same key to the same server, as long as it is up and has not too many calls. Every
// attempt of a call is a choice of its own, so that a retry goes to the next server.
type affinity struct {
	balancer.Balancer
	balancer.ClientConn
	isListed bool

	mutex   sync.Mutex
	servers map[string]*serverLoad
}

// serverLoad is what this client knows of a server: the calls that run on it, until when it is passed over, and whether
// it was ready. An open connection to another is better than to wait for one that was lost.
type serverLoad struct {
	calls      int
	restsUntil time.Time
	wasReady   bool
}

// isGood reports whether a server with this state is up, or connects for the first time.
func (s *serverLoad) isGood(state connectivity.State) bool {
	return state != connectivity.TransientFailure && (state == connectivity.Ready || !s.wasReady)
}

// UpdateState gets the states of all connections, whenever one has changed.
func (b *affinity) UpdateState(state balancer.State) {
	children := map[string]balancer.State{}
	for _, child := range endpointsharding.ChildStatesFromPicker(state.Picker) {
		children[child.Endpoint.Addresses[0].Addr] = child.State
	}
	b.note(children)
	if len(children) > 0 {
		state.Picker = affinityPicker{b, children}
	}
	b.ClientConn.UpdateState(state)
}

// note remembers which servers were ready.
func (b *affinity) note(children map[string]balancer.State) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for address, state := range children {
		if b.servers[address] == nil {
			b.servers[address] = &serverLoad{}
		}
		b.servers[address].wasReady = b.servers[address].wasReady || state.ConnectivityState == connectivity.Ready
	}
}

type affinityPicker struct {
	balancer *affinity
	children map[string]balancer.State
}

// Pick waits for a server that is connecting, so that the first calls of a client find their owner too.
func (p affinityPicker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	key, _ := info.Ctx.Value(keyOfCall{}).(string)
	address := p.balancer.choose(key, p.children)
	result, err := p.children[address].Picker.Pick(info)
	if err != nil {
		p.balancer.release(address, nil)
		return result, err
	}
	done := result.Done
	result.Done = func(ended balancer.DoneInfo) {
		p.balancer.release(address, ended.Err)
		if done != nil {
			done(ended)
		}
	}
	return result, nil
}

// choose counts a call on the server that it returns, until release.
func (b *affinity) choose(key string, children map[string]balancer.State) string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	calls := map[string]int{}
	for address := range children {
		calls[address] = b.servers[address].calls
	}
	now := time.Now()
	calls = preferring(calls, func(address string) bool {
		return b.servers[address].isGood(children[address].ConnectivityState)
	})
	calls = preferring(calls, func(address string) bool { return b.isListed || !strings.HasPrefix(address, "[") })
	calls = preferring(calls, func(address string) bool { return !now.Before(b.servers[address].restsUntil) })
	address := boundedOwner(key, calls)
	b.servers[address].calls++
	return address
}

// preferring keeps the addresses that are good, or all if none is. Of a name's addresses, those of IPv4 are better:
// a server with one of each counts once.
func preferring(calls map[string]int, good func(address string) bool) map[string]int {
	kept := map[string]int{}
	for address, running := range calls {
		if good(address) {
			kept[address] = running
		}
	}
	if len(kept) == 0 {
		return calls
	}
	return kept
}

func (b *affinity) release(address string, failed error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.servers[address].calls--
	if status.Code(failed) == codes.Unavailable {
		b.servers[address].restsUntil = time.Now().Add(rest)
	}
}

// listed is a resolver of `host:port,host:port`, and the target to dial with it. A host name is a single server.
func listed(list string) (*manual.Resolver, string, error) {
	var endpoints []resolver.Endpoint
	parts := strings.Split(list, ",")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
		host, _, err := net.SplitHostPort(parts[i])
		if err != nil || host == "" {
			return nil, "", fmt.Errorf("%q of %q is not host:port; a dns: name stands alone", part, list)
		}
		address := resolver.Address{Addr: parts[i], ServerName: host}
		endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{address}})
	}
	made := manual.NewBuilderWithScheme(listScheme)
	made.InitialState(resolver.State{Endpoints: endpoints})
	return made, listScheme + ":///" + parts[0], nil
}
