package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/bpf/emitter"
)

// Under a load of thousands of events a second the agent loses nothing, whether it is
// scraped every second or not at all.
func TestScrapingUnderLoadLosesNothing(t *testing.T) {
	needsRoot(t)
	path, err := emitter.Build(t.Context(), t.TempDir(), emitter.Dynamic)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{web: freeAddress(t), nats: freeAddress(t)}
	o.program = start(t, asBuilt(t), "agent", "--node.name=test", "--bitcoin.all", "--bitcoin.binary="+path,
		"--no-extractor.rpc", "--no-extractor.p2p", "--no-extractor.log",
		"--web.listen-address="+o.web, "--nats.listen-address="+o.nats)
	o.ready()
	const rate, seconds = 5000, 5
	total := 0.0
	for _, scraped := range []bool{false, true} {
		process, err := emitter.Start(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = process.Kill() })
		fired := make(chan error, 1)
		go func() {
			result, err := process.Fire("net:inbound_message count=%d rate=%d type=ping size=8", rate*seconds, rate)
			if err == nil && result.Fired != rate*seconds {
				err = fmt.Errorf("fired %d times, want %d", result.Fired, rate*seconds)
			}
			fired <- err
		}()
		total += rate * seconds
		ticker := time.NewTicker(time.Second)
		scrapes := 0
		for running := true; running; {
			select {
			case err := <-fired:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			case <-ticker.C:
				if !scraped {
					continue
				}
				code, body, err := get("http://" + o.web + "/metrics")
				if err != nil || code != http.StatusOK || len(body) < 10_000 {
					t.Errorf("scrape: %d, %d bytes, %v", code, len(body), err)
				}
				scrapes++
			}
		}
		ticker.Stop()
		eventually(t, "every hit to be an event", func() error {
			n, err := o.sample(`peerobserver_events_total{event="message",source="ebpf"}`)
			if err == nil && n != total {
				err = fmt.Errorf("%v events of %v hits", n, total)
			}
			return err
		})
		for _, series := range []string{
			`peerobserver_events_lost_total{reason="ring_full",source="ebpf",stage="kernel"}`,
			`peerobserver_events_lost_total{reason="queue_full",source="ebpf",stage="queue"}`,
		} {
			// What never was lost may have no series.
			if n, err := o.sample(series); err == nil && n != 0 {
				t.Errorf("scraped %v: %s is %v", scraped, series, n)
			}
		}
		if scraped && scrapes == 0 {
			t.Error("nothing was scraped: this proves nothing")
		}
		t.Logf("scraped %v: %d hits, %d scrapes, no loss", scraped, rate*seconds, scrapes)
	}
}

// More than the agent can take: what it loses is counted to the last hit, and scraping it
// every second makes the loss no larger.
func TestScrapingInOverload(t *testing.T) {
	needsRoot(t)
	path, err := emitter.Build(t.Context(), t.TempDir(), emitter.Dynamic)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{web: freeAddress(t), nats: freeAddress(t)}
	o.program = start(t, asBuilt(t), "agent", "--node.name=test", "--bitcoin.all", "--bitcoin.binary="+path,
		"--no-extractor.rpc", "--no-extractor.p2p", "--no-extractor.log", "--extractor.ebpf.ring-size=65536",
		"--web.listen-address="+o.web, "--nats.listen-address="+o.nats)
	o.ready()
	process, err := emitter.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Kill() })
	// Short turns of both kinds. What else runs on the machine makes the loss of some larger,
	// and of none smaller: the least of each kind counts.
	const turns, hits, rate = 10, 100_000, 100_000
	least := [2]float64{1, 1}
	scrapes := 0
	var total, lostBefore float64
	for turn := range turns {
		scraped := turn % 2
		done := make(chan error, 1)
		go func() {
			_, err := process.Fire("net:inbound_message count=%d rate=%d type=ping size=1000", hits, rate)
			done <- err
		}()
		// The first scrape is in the middle of the shortest turn.
		timer := time.NewTimer(time.Second / 3)
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			case <-timer.C:
				if scraped == 0 {
					continue
				}
				if code, body, err := get("http://" + o.web + "/metrics"); err != nil || code != http.StatusOK || len(body) < 10_000 {
					t.Errorf("scrape: %d, %d bytes, %v", code, len(body), err)
				}
				scrapes++
				timer.Reset(time.Second)
			}
		}
		timer.Stop()
		total += hits
		var lostNow float64
		eventually(t, "every hit to be an event or lost", func() error {
			seen, err := o.sample(`peerobserver_events_total{event="message",source="ebpf"}`)
			if err != nil {
				return err
			}
			// What never was lost may have no series.
			if lostNow, err = o.sample(`peerobserver_events_lost_total{reason="ring_full",source="ebpf",stage="kernel"}`); err != nil {
				lostNow = 0
			}
			if seen+lostNow != total {
				return fmt.Errorf("%v events and %v lost of %v hits", seen, lostNow, total)
			}
			return nil
		})
		least[scraped] = min(least[scraped], (lostNow-lostBefore)/hits)
		lostBefore = lostNow
	}
	without, with := least[0], least[1]
	t.Logf("lost without scrapes %.1f %%, with %d scrapes %.1f %% of %d hits", 100*without, scrapes, 100*with, hits)
	if lostBefore == 0 || scrapes < turns/2 {
		t.Errorf("%v lost, %d scrapes: this proves nothing", lostBefore, scrapes)
	}
	// A scrape that kept events waiting for a fifth of a second would add a fifth.
	if with > without+0.15 {
		t.Errorf("scraping makes the loss %.1f %% instead of %.1f %%", 100*with, 100*without)
	}
}
