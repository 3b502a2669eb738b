package metrics_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
)

// The clocks of the peers by their version messages; the second one of a peer doesn't count.
func TestClocksOfPeers(t *testing.T) {
	r := newRig(t, metrics.Config{})
	say := func(p peer, ahead time.Duration) {
		// The peers' clocks count whole seconds.
		r.now = r.now.Truncate(time.Second).Add(1500 * time.Millisecond)
		body := version("/Satoshi:29.0.0/")
		body.GetVersion().Timestamp = proto.Int64(r.now.Add(ahead).Unix())
		r.message(p, true, "version", 100, body)
	}
	for i := range uint64(9) {
		in, out := alice, bob
		in.id, out.id = 100+i, 200+i
		say(in, 90*time.Second)
		say(in, 9*time.Hour)
		if i > 1 {
			say(out, 3*time.Second)
		}
	}
	r.after(time.Minute).open(alice)
	r.want(map[string]float64{
		`peers_version_time_offset_seconds{direction="inbound"}`:  90,
		`peers_version_time_offset_seconds{direction="outbound"}`: absent,
	})
	carol := carol
	carol.id = 300
	say(carol, 3*time.Second)
	r.after(time.Minute).open(alice)
	r.want(map[string]float64{`peers_version_time_offset_seconds{direction="outbound"}`: 3})
}
