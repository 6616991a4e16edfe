package fovea

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// decoders are doubles that answer with their address.
type decoders struct {
	addresses []string
	servers   map[string]*grpc.Server
	// refusing are those that refuse every call as UNAVAILABLE.
	refusing sync.Map
	// asked counts the calls that arrived.
	asked sync.Map
}

func startDecoders(t *testing.T, count int) *decoders {
	t.Helper()
	d := &decoders{servers: map[string]*grpc.Server{}}
	for range count {
		var address string
		answers := &double{complete: func(context.Context, *decoderv1.CompleteRequest) (*decoderv1.CompleteResponse, error) {
			before, _ := d.asked.LoadOrStore(address, 0)
			d.asked.Store(address, before.(int)+1)
			if _, refuses := d.refusing.Load(address); refuses {
				return nil, refusal(codes.Unavailable, ReasonNotReady, 0)
			}
			return &decoderv1.CompleteResponse{Text: address}, nil
		}}
		server := grpc.NewServer()
		decoderv1.RegisterDecoderServiceServer(server, answers)
		address = listen(t, server)
		d.addresses, d.servers[address] = append(d.addresses, address), server
	}
	return d
}

func (d *decoders) list() string { return strings.Join(d.addresses, ", ") }

// askedAbout is the decoder that answers a question about a stored image.
func askedAbout(t *testing.T, client *Client, id string) string {
	t.Helper()
	answer, err := client.Ask(context.Background(), Question("?", Image(id)))
	if err != nil {
		t.Fatal(err)
	}
	return answer.Text
}

func ids(count int) []string {
	made := make([]string, count)
	for i := range made {
		made[i] = ID(fmt.Append(nil, i))
	}
	return made
}

func TestRequestsAboutAnImageGoToItsDecoder(t *testing.T) {
	d := startDecoders(t, 3)
	client := dialDouble(t, d.list(), WithTimeout(patience), WithToken("secret")) // all are on this machine
	for _, id := range ids(30) {
		for range 2 {
			if got, owner := askedAbout(t, client, id), ranked(id, d.addresses)[0]; got != owner {
				t.Errorf("%s was answered by %s, not by %s", id, got, owner)
			}
		}
	}
}

func TestOnlyImagesOfADecoderThatEndedMove(t *testing.T) {
	d := startDecoders(t, 3)
	client := dialDouble(t, d.list(), WithTimeout(patience))
	askedAbout(t, client, ids(1)[0])
	gone := d.addresses[0]
	d.servers[gone].Stop()
	for _, id := range ids(30) {
		order := ranked(id, d.addresses)
		owner := order[0]
		if owner == gone {
			owner = order[1]
		}
		if got := askedAbout(t, client, id); got != owner {
			t.Errorf("%s was answered by %s, not by %s", id, got, owner)
		}
	}
}

// A machine that has lost its power neither answers nor refuses.
func TestADecoderThatIsSilentIsPassedOver(t *testing.T) {
	d := startDecoders(t, 2)
	silent := d.addresses[0]
	var isSilent sync.Map
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		if _, hangs := isSilent.Load(address); hangs {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	client := dialDouble(t, d.list(), WithTimeout(5*time.Second), WithDialOptions(grpc.WithContextDialer(dial)))
	owned := slices.DeleteFunc(ids(64), func(id string) bool { return ranked(id, d.addresses)[0] != silent })
	for _, id := range ids(64) {
		askedAbout(t, client, id) // connects to both
	}
	isSilent.Store(silent, true)
	d.servers[silent].Stop()
	for _, id := range owned[:3] {
		if got := askedAbout(t, client, id); got == silent {
			t.Errorf("%s was answered by a decoder that has ended", id)
		}
	}
}

func TestADecoderThatRefusesIsPassedOver(t *testing.T) {
	d := startDecoders(t, 2)
	client := dialDouble(t, d.list(), WithTimeout(patience))
	drains := d.addresses[0]
	d.refusing.Store(drains, true)
	owned := ids(64)
	owned = slices.DeleteFunc(owned, func(id string) bool { return ranked(id, d.addresses)[0] != drains })
	for _, id := range owned[:3] {
		if got := askedAbout(t, client, id); got == drains {
			t.Errorf("%s was answered by a decoder that refuses", id)
		}
	}
	if _, asked := d.asked.Load(drains); !asked {
		t.Error("the owner was not asked first")
	}
}

func TestAListWithoutPortsFailsTheCalls(t *testing.T) {
	for _, list := range []string{"127.0.0.1:1,", "a,b", "a:1,dns:///b:1"} {
		_, err := dialDouble(t, list).Info(context.Background())
		failure(t, err, ReasonInvalidArgument)
	}
}
