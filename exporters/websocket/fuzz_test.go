package websocket

import (
	"testing"

	"github.com/peerobserver/peerobserver/proto/event"
)

// FuzzSubscription: whatever a client sends is refused or becomes filters that any event
// can be held against.
func FuzzSubscription(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"ebpf":{"messages":true},"rpc":true}`, `{"filters":[{"peers":["1","::1","10.0.0.0/8","x.onion"],"direction":"inbound"}],"brief":true}`, `[]`, `nul`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSubscription(text)
		if err != nil {
			if len(s.filters) != 0 {
				t.Error("an error comes with filters")
			}
			return
		}
		if len(s.filters) > maxFilters+10 {
			t.Errorf("%d filters", len(s.filters))
		}
		for _, data := range [][]byte{nil, {0x0a, 0x02, 0x0a, 0x00}} {
			s.wants(&delivery{event: &event.Event{Kind: event.KindMessage, Data: data}})
			s.wants(&delivery{event: &event.Event{Kind: event.KindConnectionInbound, Data: data}})
		}
	})
}
