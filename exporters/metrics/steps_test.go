package metrics_test

import (
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// After the clock was set, polled values still get old, rates are right, and the step is
// counted; in a replay too.
func TestClockIsSet(t *testing.T) {
	for name, config := range map[string]metrics.Config{"live": {}, "replay": {Replay: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, config)
			uptime := func(n uint32) {
				r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: n}})
			}
			live := func(d time.Duration) {
				for range int(d / (5 * time.Second)) {
					r.after(5*time.Second).message(alice, true, "inv", 8, nil)
					if r.now.Unix()%30 == 0 {
						r.message(alice, true, "ping", 8, nil)
					}
				}
			}
			live(10 * time.Minute)
			uptime(1)
			r.want(map[string]float64{"node_uptime_seconds": 1, `clock_steps_total{direction="back"}`: 0, `clock_steps_total{direction="forward"}`: 0})
			for i, d := range []time.Duration{-24 * time.Hour, -365 * 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
				r.after(d)
				uptime(uint32(2 + i))
				live(10 * time.Second)
				r.want(map[string]float64{"node_uptime_seconds": float64(2 + i)})
				// Nobody polls any more; what was polled is no longer shown, step or no step.
				live(3 * time.Hour)
				r.want(map[string]float64{"node_uptime_seconds": absent})
				if rate := gather(t, r.sink.Registry())[`peerobserver_peer_activity_max_per_minute{activity="pings"}`]; rate < 1 || rate > 4 {
					t.Errorf("%v pings a minute after a step of %v", rate, d)
				}
			}
			r.want(map[string]float64{`clock_steps_total{direction="back"}`: 2, `clock_steps_total{direction="forward"}`: 1})
		})
	}
}
