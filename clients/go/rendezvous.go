package fovea

import (
	"cmp"
	"slices"
	"strings"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	"github.com/zeebo/xxh3"
)

// A server with fewer calls than freeCalls is never passed over: it computes as many together, and the next server
// would compute again what this one has cached. Above that it has at most slackAbove / slackBelow of the average.
const (
	freeCalls  = 16
	slackAbove = 5
	slackBelow = 4
)

// keyOf is what a decoder is chosen by: the id of the first image, or else the text of the first message of the user.
// Requests with the same key begin alike, so the decoder that has answered one has the beginning in its KV cache.
func keyOf(request *decoderv1.GenerateRequest) string {
	for _, message := range request.Messages {
		for _, part := range message.Parts {
			switch source := part.GetImage().GetSource().(type) {
			case *decoderv1.Image_Digest:
				return source.Digest
			case *decoderv1.Image_Data:
				return ID(source.Data)
			}
		}
	}
	first := slices.IndexFunc(request.Messages, func(m *decoderv1.Message) bool {
		return m.Role == decoderv1.Role_ROLE_USER
	})
	if first < 0 {
		return ""
	}
	var text strings.Builder
	for _, part := range request.Messages[first].Parts {
		text.WriteString(part.GetText())
	}
	return text.String()
}

// ranked orders the addresses by decreasing hash with the key (rendezvous hashing). If an address leaves, the others
// keep their order.
func ranked(key string, addresses []string) []string {
	weights := make(map[string]uint64, len(addresses))
	for _, address := range addresses {
		weights[address] = xxh3.HashString(address + "\n" + key)
	}
	return slices.SortedFunc(slices.Values(addresses), func(a, b string) int {
		return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(b, a))
	})
}

// bound is the most calls that a server may have, if servers have calls together. At least one is below it.
func bound(calls, servers int) int {
	least := slackBelow * servers
	return max(freeCalls, (slackAbove*calls+least-1)/least)
}

// boundedOwner is the first address in rank order that stays within the bound with a call more (consistent hashing
// with bounded loads: Mirrokni, Thorup and Zadimoghaddam, 2018). calls are those that each address has now.
func boundedOwner(key string, calls map[string]int) string {
	total, addresses := 1, make([]string, 0, len(calls))
	for address, running := range calls {
		total += running
		addresses = append(addresses, address)
	}
	most := bound(total, len(calls))
	order := ranked(key, addresses)
	return order[slices.IndexFunc(order, func(address string) bool { return calls[address] < most })]
}
