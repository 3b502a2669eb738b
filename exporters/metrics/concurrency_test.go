package metrics_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/peerobserver/peerobserver/exporters/metrics"
)

// Scrapes run beside the events, also those that make new nodes, without waiting for
// them; the race detector looks on. Counters never fall from one scrape to the next,
// and every histogram agrees with itself.
func TestScrapeWhileHandling(t *testing.T) {
	for name, config := range map[string]metrics.Config{
		"one node":   {Replay: true},
		"many nodes": {Replay: true, NodeLabel: true, Remote: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, config)
			done := make(chan struct{})
			var scrapers sync.WaitGroup
			for range 2 {
				scrapers.Go(func() {
					before := 0.0
					for {
						messages := 0.0
						for series, value := range gather(t, r.sink.Registry()) {
							if strings.HasPrefix(series, `peerobserver_events_total{event="message"`) {
								messages += value
							}
						}
						if messages < before {
							t.Errorf("%v messages after %v", messages, before)
						}
						before = messages
						select {
						case <-done:
							return
						default:
						}
					}
				})
			}
			r.normalLife(1)
			r.hostile(1000)
			close(done)
			scrapers.Wait()
		})
	}
}
