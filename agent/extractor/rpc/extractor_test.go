package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestEveryMethodHasItsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		stop := newRig(t, fake, nil).run(t)
		time.Sleep(time.Hour)
		stop()
		for _, m := range methods() {
			want := int(time.Hour/m.defaultInterval) * len(m.calls)
			got := len(fake.times(m.name))
			// The first call comes up to two seconds late.
			if got < want-len(m.calls) || got > want+len(m.calls) {
				t.Errorf("%s: %d calls in an hour, want about %d", m.name, got, want)
			}
		}
	})
}

func TestASlowMethodDelaysNoOther(t *testing.T) {
	for _, slow := range []string{"getrawaddrman", "getpeerinfo", "getchaintips", "getnetworkinfo"} {
		t.Run(slow, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeNode()
				fake.latency[slow] = 25 * time.Second
				r := newRig(t, fake, nil)
				stop := r.run(t)
				time.Sleep(30 * time.Minute)
				stop()
				for _, m := range methods() {
					if m.name == slow || m.lane == laneHeavy {
						continue
					}
					times := fake.times(m.name)
					for i := 1; i < len(times); i++ {
						if gap := times[i] - times[i-1]; gap != m.defaultInterval {
							t.Fatalf("%s: %v between calls %d and %d, want %v", m.name, gap, i, i+1, m.defaultInterval)
						}
					}
				}
				if fake.overlapped != "" {
					t.Errorf("%s overlapped itself", fake.overlapped)
				}
				if want := 30 * time.Minute / (2 * slowInterval); slow != "getrawaddrman" && len(fake.times(slow)) < int(want) {
					t.Errorf("%s was called %d times only", slow, len(fake.times(slow)))
				}
			})
		})
	}
}

func TestCallsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		for _, m := range methods() {
			fake.latency[m.name] = 9 * time.Second
		}
		stop := newRig(t, fake, nil).run(t)
		time.Sleep(10 * time.Minute)
		stop()
		if fake.peak != fastPlaces+heavyPlaces {
			t.Errorf("up to %d calls at the same time, want %d", fake.peak, fastPlaces+heavyPlaces)
		}
		if fake.overlapped != "" {
			t.Errorf("%s overlapped itself", fake.overlapped)
		}
		for _, m := range methods() {
			if len(fake.times(m.name)) == 0 {
				t.Errorf("%s was never called", m.name)
			}
		}
	})
}

func TestTimeoutsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		fake.latency["getpeerinfo"] = time.Hour
		r := newRig(t, fake, nil)
		stop := r.run(t)
		defer stop()
		time.Sleep(time.Hour)
		calls := len(fake.times("getpeerinfo"))
		// 30 s for the timeout each, with pauses that double up to ten minutes.
		if calls < 6 || calls > 15 {
			t.Errorf("%d calls in an hour of timeouts", calls)
		}
		if got := r.loss(reasonTimeout); got != uint64(calls) && got != uint64(calls-1) {
			t.Errorf("%d timeouts counted for %d calls", got, calls)
		}
		if up, detail := r.emitter.Account().State(); up || !strings.Contains(detail, "getpeerinfo: no answer within 30s") {
			t.Errorf("source up=%v: %s", up, detail)
		}
		fake.set(func() { delete(fake.latency, "getpeerinfo") })
		time.Sleep(maxBackoff + time.Minute)
		if up, detail := r.emitter.Account().State(); !up {
			t.Errorf("source down after the node recovered: %s", detail)
		}
		times := fake.times("getpeerinfo")
		if gap := times[len(times)-1] - times[len(times)-2]; gap != fastInterval {
			t.Errorf("calls %v apart after the node recovered, want %v", gap, fastInterval)
		}
	})
}

func TestMissingMethodIsLeftOutUntilTheNodeChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		fake.errors["getorphantxs"] = fmt.Errorf("rpc getorphantxs: %w", errNoMethod)
		fake.errors["getaddrmaninfo"] = fmt.Errorf("rpc getaddrmaninfo: %w", errNoMethod)
		r := newRig(t, fake, nil)
		stop := r.run(t)
		defer stop()
		time.Sleep(50 * time.Minute)
		for _, name := range []string{"getorphantxs", "getaddrmaninfo"} {
			if calls := len(fake.times(name)); calls != 1 {
				t.Errorf("%s, which the node lacks, was called %d times", name, calls)
			}
		}
		up, detail := r.emitter.Account().State()
		if !up || !strings.Contains(detail, "getaddrmaninfo, getorphantxs") {
			t.Errorf("source up=%v: %s", up, detail)
		}
		for _, reason := range []event.Reason{reasonError, reasonTimeout, reasonRefused, event.ReasonMalformed} {
			if n := r.loss(reason); n != 0 {
				t.Errorf("a missing method counts as %d losses by %s", n, reason)
			}
		}
		fake.set(func() { clear(fake.errors) })
		r.setNode(fake, 2)
		time.Sleep(5 * time.Second)
		for _, name := range []string{"getorphantxs", "getaddrmaninfo"} {
			if calls := len(fake.times(name)); calls != 2 {
				t.Errorf("%s was called %d times after the node was upgraded, want twice", name, calls)
			}
		}
		if up, detail := r.emitter.Account().State(); !up || strings.Contains(detail, "lacks") {
			t.Errorf("source up=%v: %s", up, detail)
		}
	})
}

func TestMissingMethodIsTriedAgainWhereTheStartIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		fake.errors["getorphantxs"] = errNoMethod
		r := newRig(t, fake, nil)
		r.setNode(fake, 0)
		stop := r.run(t)
		defer stop()
		time.Sleep(recheckMissing + 2*slowInterval)
		if calls := len(fake.times("getorphantxs")); calls != 2 {
			t.Errorf("%d calls in a good hour, want 2", calls)
		}
	})
}

func TestWaitsForTheNodeAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, nil)
		stop := r.run(t)
		defer stop()
		time.Sleep(7 * time.Minute)
		if up, detail := r.emitter.Account().State(); up || detail != detailNoNode {
			t.Errorf("without a node: up=%v: %s", up, detail)
		}
		if n := len(r.recorder.all()); n != 0 {
			t.Errorf("%d events without a node", n)
		}

		fake := newFakeNode()
		r.setNode(fake, 10)
		time.Sleep(4 * time.Second)
		if up, detail := r.emitter.Account().State(); !up {
			t.Errorf("four seconds after the node came: %s", detail)
		}
		for _, m := range methods() {
			if calls := len(fake.times(m.name)); calls != len(m.calls) {
				t.Errorf("%s: %d calls four seconds after the node came, want %d", m.name, calls, len(m.calls))
			}
		}
		for _, e := range r.recorder.all() {
			if e.GetNodeStartTimeNs() != 10 {
				t.Fatalf("event of a node started at %d, want 10", e.GetNodeStartTimeNs())
			}
		}

		// The node goes: calls fail for a while before it is known to be gone.
		fake.set(func() {
			for _, m := range methods() {
				fake.errors[m.name] = fmt.Errorf("rpc: %w", node.ErrUnreachable)
			}
		})
		time.Sleep(20 * time.Second)
		if up, _ := r.emitter.Account().State(); up {
			t.Error("source up while nothing answers")
		}
		if r.loss(reasonRefused) == 0 {
			t.Error("refused calls were not counted")
		}
		r.setNode(nil, 0)
		time.Sleep(2 * time.Second)
		if up, detail := r.emitter.Account().State(); up || detail != detailNoNode {
			t.Errorf("after the node went: up=%v: %s", up, detail)
		}

		// It comes back, warming up at first.
		again := newFakeNode()
		for _, m := range methods() {
			again.errors[m.name] = fmt.Errorf("rpc: %w", &node.RPCError{Code: -28, Message: "Loading block index…"})
		}
		r.setNode(again, 20)
		time.Sleep(10 * time.Second)
		if up, detail := r.emitter.Account().State(); up || !strings.Contains(detail, "Loading block index") {
			t.Errorf("while the node warms up: up=%v: %s", up, detail)
		}
		again.set(func() { clear(again.errors) })
		time.Sleep(retryInterval + time.Second)
		if up, detail := r.emitter.Account().State(); !up {
			t.Errorf("after the node warmed up: %s", detail)
		}
		if calls := again.times("getrawaddrman"); len(calls) < 2 {
			t.Errorf("getrawaddrman waits for its whole interval after a node that was starting: calls at %v", calls)
		}
	})
}

func TestReasons(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason event.Reason
	}{
		{errNoMethod, reasonMissing},
		{&node.RPCError{Code: -32603, Message: "Fee estimation disabled"}, reasonMissing},
		{&node.RPCError{Code: -32603, Message: "Something else"}, reasonError},
		{&node.RPCError{Code: -28, Message: "Loading"}, reasonError},
		{node.ErrUnauthorized, reasonUnauthorized},
		{node.ErrCredentials, reasonUnauthorized},
		{&node.HTTPError{Status: 403}, reasonUnauthorized},
		{&node.HTTPError{Status: 503}, reasonError},
		{node.ErrUnreachable, reasonRefused},
		{node.ErrResponseTooLarge, event.ReasonTooLarge},
		{errMalformed, event.ReasonMalformed},
		{errors.New("anything"), reasonError},
	} {
		if got := classify(fmt.Errorf("rpc method: %w", test.err)); got != test.reason {
			t.Errorf("%v: reason %s, want %s", test.err, got, test.reason)
		}
	}
}

func TestFailuresAreCountedAndToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		fake.answers["getmempoolinfo"] = `[]`
		fake.answers["getnettotals"] = `{"totalbytesrecv": "many", "totalbytessent": -1}`
		fake.errors["getpeerinfo"] = &node.HTTPError{Status: 403, Address: "127.0.0.1:1", Hint: "see -rpcwhitelist"}
		fake.answers["uptime"] = `null`
		r := newRig(t, fake, nil)
		stop := r.run(t)
		time.Sleep(99 * time.Second)
		stop()
		// Ten ticks each: two values a tick of getnettotals, one answer a tick of
		// getmempoolinfo and uptime.
		if got := r.loss(event.ReasonMalformed); got != 40 {
			t.Errorf("%d malformed counted, want 40", got)
		}
		if got := r.loss(reasonUnauthorized); got != 10 {
			t.Errorf("%d unauthorized counted, want 10", got)
		}
		for _, m := range r.Methods() {
			if m.Name == "getpeerinfo" && (m.Failed != 10 || m.Answered != 0 || m.Err == nil) {
				t.Errorf("status of getpeerinfo: %+v", m)
			}
		}
		var totals int
		for _, e := range r.recorder.all() {
			if n := e.GetRpcExtractor().GetNetTotals(); n != nil {
				totals++
				if len(n.GetAbsentFields()) != 4 || n.TotalBytesReceived == nil {
					t.Fatalf("net totals of a malformed answer: %v", n)
				}
			}
		}
		if totals != 10 {
			t.Errorf("%d events of getnettotals, want 10: a malformed value must not cost the rest", totals)
		}
	})
}

func TestTooLargeAnswerOfOrphansIsAskedForShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		fake.errors["getorphantxs"] = node.ErrResponseTooLarge
		r := newRig(t, fake, nil)
		stop := r.run(t)
		defer stop()
		time.Sleep(10 * time.Second)
		fake.set(func() { clear(fake.errors) })
		time.Sleep(slowInterval)
		calls := fake.made("getorphantxs")
		if len(calls) != 2 || fmt.Sprint(calls[0].params) != "[2]" || fmt.Sprint(calls[1].params) != "[1]" {
			t.Errorf("calls of getorphantxs: %v", calls)
		}
		if got := r.loss(event.ReasonTooLarge); got != 1 {
			t.Errorf("%d counted as too large, want 1", got)
		}
	})
}

func TestIntervalsAndTimeoutsAreConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		fake.latency["getnettotals"] = 3 * time.Second
		r := newRig(t, fake, func(c *Config) {
			c.Intervals = map[string]time.Duration{"getpeerinfo": time.Second, "uptime": -1}
			c.Timeouts = map[string]time.Duration{"getnettotals": 2 * time.Second}
		})
		stop := r.run(t)
		time.Sleep(100 * time.Second)
		stop()
		if n := len(fake.times("getpeerinfo")); n < 99 || n > 101 {
			t.Errorf("%d calls of getpeerinfo in 100 s at an interval of 1 s", n)
		}
		if n := len(fake.times("uptime")); n != 0 {
			t.Errorf("uptime is off and was called %d times", n)
		}
		if r.loss(reasonTimeout) == 0 {
			t.Error("the timeout of getnettotals didn't apply")
		}
	})
	ledger := event.NewLedger()
	emitter := event.NewEmitter(event.SourceRPC, event.Origin{}, event.NewStream(), ledger)
	_, err := New(Config{
		Client:    func() Caller { return nil },
		Intervals: map[string]time.Duration{"getblockcount": time.Second},
	}, emitter, ledger, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "getblockcount") {
		t.Errorf("an unknown method in the configuration gives %v", err)
	}
}

func TestFeeQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeNode()
		fake.answers["estimatesmartfee"] = `{"feerate":0.00012345,"blocks":2}`
		r := newRig(t, fake, nil)
		stop := r.run(t)
		time.Sleep(10 * time.Second)
		stop()
		got := map[string]bool{}
		for _, e := range r.recorder.all() {
			if fee := e.GetRpcExtractor().GetEstimateSmartFee(); fee != nil {
				got[fmt.Sprint(fee.GetRequestedBlocks(), fee.GetMode(), fee.GetFeeRate(), fee.GetBlocks())] = true
			}
		}
		for _, target := range []int{1, 6, 144} {
			for _, mode := range []eventpb.FeeEstimateMode{1, 2} {
				if want := fmt.Sprint(target, mode, 12.345, 2); !got[want] {
					t.Errorf("no answer %q among %v", want, got)
				}
			}
		}
		if len(got) != 6 {
			t.Errorf("%d different answers, want 6", len(got))
		}
	})
}
