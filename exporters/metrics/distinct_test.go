package metrics_test

import (
	"fmt"
	"math/bits"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// distinctValues sends n distinct values of everything that a peer can choose: user
// agents, message types, reasons of rejection, of misbehaviour and of reject messages,
// addresses with services, and the peers themselves. It gives the number of messages and
// of services.
func (r *rig) distinctValues(n int) (messages, services int) {
	r.t.Helper()
	const batch = 1000
	list := make([]*eventpb.Address, 0, batch)
	for i := range n {
		// Odd multiples of a number below 2^32 don't meet.
		x := uint32(i)*2654435761 + 1
		p := alice
		p.id, p.addr = uint64(i), fmt.Sprintf("%d.%d.%d.%d:%d", 1+x>>24%223, x>>16&255, x>>8&255, x&255, 1024+i%60_000)
		r.after(time.Millisecond).open(p)
		r.message(p, true, "version", 120, version(fmt.Sprintf("/agent:%d/", i)))
		r.message(p, true, fmt.Sprintf("m%d", i), 8, nil)
		r.message(p, true, "reject", 50, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Reject{Reject: &eventpb.Reject{
			RejectedCommand: proto.String(fmt.Sprintf("c%d", i)), Reason: eventpb.Reject_RejectReason(i).Enum()}}})
		r.misbehaving(p, fmt.Sprintf("reason %d x", i))
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: hash("t", i), Reason: proto.String(fmt.Sprintf("r%dx", i))}}})
		messages += 3
		address := ipv4(fmt.Sprintf("%d.%d.%d.%d", 1+i>>18, i>>12&63, i>>6&63, i&63), r.now, uint64(i))
		// The bits with names, and one for the rest.
		const named = 1<<0 | 1<<2 | 1<<3 | 1<<6 | 1<<10 | 1<<11
		services += bits.OnesCount64(uint64(i)&named) + min(1, bits.OnesCount64(uint64(i)&^named))
		if list = append(list, address); len(list) == batch || i == n-1 {
			r.message(p, true, "addrv2", 25*len(list), addrV2(list...))
			messages++
			list = list[:0]
		}
		r.close(p, r.now)
	}
	return messages, services
}

// sum adds up all series of a metric, or of those with a label.
func sum(samples map[string]float64, name, label string) (total float64) {
	for series, v := range samples {
		base, labels, _ := strings.Cut(series, "{")
		if base == "peerobserver_"+name && strings.Contains(labels, label) {
			total += v
		}
	}
	return total
}

// A million distinct values of everything that peers choose (fewer with the race
// detector, which makes them ten times as slow) leave series and memory in their
// budgets, and the sums right.
func TestDistinctValues(t *testing.T) {
	n := distinctValues
	if testing.Short() {
		n = min(n, 20_000)
	}
	r := newRig(t, metrics.Config{ProcessMetrics: true})
	r.normalLife(1)
	before := gather(t, r.sink.Registry())
	messages, services := r.distinctValues(n)
	heap := memory()
	after := gather(t, r.sink.Registry())
	grown := func(name, label string) float64 { return sum(after, name, label) - sum(before, name, label) }
	series := len(after)
	for name := range after {
		if strings.Contains(name, "_count") {
			series++ // the bucket +Inf, which gather leaves out
		}
	}
	t.Logf("%d distinct values of each kind: %d series, %d MiB of heap", n, series, heap>>20)
	if series > hostileSeries {
		t.Errorf("%d series, the budget is %d", series, hostileSeries)
	}
	if heap > 96<<20 {
		t.Errorf("%d MiB of heap", heap>>20)
	}
	for _, c := range []struct {
		name, label string
		want        int
	}{
		{"p2p_messages_total", "", messages},
		{"p2p_messages_total", `message="other"`, n},
		{"label_overflow_total", `label="message"`, n},
		{"p2p_version_messages_total", "", n},
		{"p2p_version_messages_total", `user_agent="other"`, n},
		{"p2p_reject_messages_total", "", n},
		{"peers_misbehaving_total", "", n},
		{"mempool_rejected_total", "", n},
		{"mempool_rejected_total", `reason="other"`, n},
		{"connections_opened_total", "", n},
		{"connections_closed_total", "", n},
		{"p2p_addr_entries_total", `network="ipv4"`, n},
		{"p2p_addr_received_entries_total", "", n},
		{"p2p_addr_entry_services_total", "", services},
	} {
		if got := grown(c.name, c.label); got != float64(c.want) {
			t.Errorf("%s{%s} grew by %v, want %d", c.name, c.label, got, c.want)
		}
	}
	// Estimates are right to their error.
	r.after(2 * time.Minute).normalLife(1)
	if got := sum(gather(t, r.sink.Registry()), "p2p_addr_unique_day", `network="ipv4"`); got < 0.97*float64(n) || got > 1.03*float64(n)+200 {
		t.Errorf("%v distinct addresses estimated of %d", got, n)
	}
	runtime.KeepAlive(r)
}
