package dashboards_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/dashboards/picture"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// emptyInTheLab are the queries that a regtest node under this test's load gives no data
// for, as "dashboard, panel, query", and why.
func emptyInTheLab() map[string]string {
	const (
		loopback  = "all peers are on loopback, which is in no public network, list or autonomous system"
		noTried   = "the node has had no connection to an address of its address manager"
		rare      = "the observer counts it when it happens, which it does not here"
		patched   = "Bitcoin Core does not give it without a patch"
		relayed   = "addresses come now and then"
		calm      = "nothing of it happens in a network of three nodes"
		otherNode = "this node is not one of that kind"
		quiet     = "nobody has got 100 kB of announcements"
	)
	return map[string]string{
		"addresses, Addresses in an addr message received, A":            "all peers speak addrv2",
		"alerts, Announcements that wait for one peer, B":                otherNode,
		"alerts, Clocks of new peers, A":                                 "fewer than eight peers have come",
		"alerts, Addresses dated ahead, A":                               relayed,
		"alerts, Addresses that nobody can have, A":                      relayed,
		"alerts, Transactions asked for again, for each that is sent, A": calm,
		"alerts, Asked for and not offered, A":                           rare,
		"alerts, Peers that only listen, A":                              quiet,
		"alerts, More peers that only listen, A":                         quiet,
		"alerts, Addresses of a day, A":                                  "the median of the time before is zero: no address has come",
		"alerts, Peers of a network left, A":                             loopback,
		"addresses, Addresses per message, A":                            "the node relays an address to two of its peers, by chance not to the observer",
		"addresses, Self-announcements in an hour, A":                    loopback,
		"addresses, Tried table, A":                                      noTried,
		"eclipse, Tried table, A":                                        noTried,
		"eclipse, What the tried table has in common with yesterday, A":  noTried,
		"addresses, Terrible entries by network, A":                      "all addresses are new",
		"blocks, Height, C":                                              otherNode,
		"node, Size on disk, B":                                          otherNode,
		"cost, CPU load by peer, as the node counts it, A":               patched,
		"cost, CPU load by peer, as the node counts it, B":               patched,
		"cost, CPU load by peer, as the node counts it, C":               patched,
		"cost, Rejections by peers, A":                                   "no peer sends reject messages any more",
		"eclipse, Oldest block in flight, A":                             calm,
		"eclipse, Largest group of inbound IPv4 and IPv6, A":             loopback,
		"eclipse, Oldest outbound connection, A":                         "all outbound connections of the node were asked for by hand",
		"eclipse, Age of outbound addresses, A":                          "all outbound connections of the node were asked for by hand",
		"eclipse, Diversity of inbound IPv4, A":                          loopback,
		"eclipse, Largest autonomous system, A":                          loopback,
		"eclipse, Largest autonomous system, B":                          loopback,
		"fleet, Outlying inbound counts, A":                              "the number of inbound peers may be the same all the time",
		"observer, Defects of records, A":                                rare,
		"observer, Lost, by place and reason, A":                         rare,
		"alerts, Events lost, A":                                         rare,
		"observer, Share lost, A":                                        rare,
		"peers, Misbehaviour, A":                                         rare,
		"spies, Share of messages, A":                                    loopback,
		"spies, What they send and get, A":                               loopback,
		"transactions, Not found, A":                                     calm,
		"transactions, Announcers of orphans, A":                         calm,
		"transactions, Announcers of orphans, B":                         calm,
		"transactions, Busiest announcer, A":                             calm,
		"mempool, Fee estimates, A":                                      "the node has no estimate after so few blocks",
		"mempool, Fee estimates, B":                                      "the node has no estimate after so few blocks",
	}
}

// Every query of every panel gives data on a real Prometheus that scrapes a real agent
// beside a real node with peers and traffic, under attack; and dashboards can be drawn from
// their own JSON and those results. With PEER_OBSERVER_PICTURES there are more attacks, and
// pictures of all dashboards.
func TestPanelsHaveData(t *testing.T) {
	began := time.Now()
	var options rigOptions
	if pictures() != "" {
		if os.Getenv(envInside) == "" {
			inNamespace(t)
			return
		}
		options = attackOptions(t)
	}
	r := newRig(t, options)
	traffic, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if failed, err := regtest.Traffic(traffic, r.nodes...); err != nil {
			t.Logf("traffic: %d calls failed, the last: %v", failed, err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	t.Logf("ready after %v", time.Since(began))
	r.live(t.Context(), 8)
	r.attack("reorganization", "mutated-blocks", "malformed-messages", "ping-flood")
	r.live(t.Context(), 2)
	if pictures() != "" {
		stop()
		<-done
		r.attackForPictures()
		for _, d := range parsed(t) {
			r.draw(d)
		}
	}
	t.Logf("load and attacks after %v", time.Since(began))

	allowed := emptyInTheLab()
	if pictures() != "" {
		allowed["addresses, Share that is rate-limited, A"] = "the last attack starts the node again, whose peers haven't sent addresses yet"
	}
	answered := map[string]bool{} // whether there was ever data
	r.eventually("data in all panels", func() error {
		options := r.shown()
		var empty []string
		for _, d := range parsed(t) {
			for _, p := range d.Panels {
				for _, target := range p.Targets {
					name := fmt.Sprintf("%s, %s, %s", strings.TrimPrefix(d.UID, "peerobserver-"), p.Title, target.RefID)
					if answered[name] {
						continue
					}
					series, err := options.Ask(t.Context(), target)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					answered[name] = slices.ContainsFunc(series, func(s picture.Series) bool { return s.Points() > 0 })
					if !answered[name] && allowed[name] == "" {
						empty = append(empty, name)
					}
				}
			}
		}
		if len(empty) > 0 {
			return fmt.Errorf("no data:\n%s", strings.Join(empty, "\n"))
		}
		return nil
	})
	t.Logf("data after %v", time.Since(began))
	for name := range allowed {
		if _, ok := answered[name]; !ok {
			t.Errorf("the list of what may be empty has %q, which isn't there", name)
		}
	}
	for _, d := range parsed(t) {
		// These have panels of all kinds but one; drawing takes seconds under the race
		// detector.
		if pictures() == "" && (d.UID == "peerobserver-observer" || d.UID == "peerobserver-spies") {
			r.draw(d)
		}
	}
	t.Logf("drawn after %v", time.Since(began))
	r.annotationsHaveData()
	r.variablesHaveValues()
}

// draw draws a dashboard, and keeps the picture where somebody wants to see it.
func (r *rig) draw(d picture.Dashboard) {
	r.t.Helper()
	image, err := picture.Draw(r.t.Context(), d, r.shown())
	if err != nil {
		r.t.Errorf("%s: %v", d.UID, err)
		return
	}
	if directory := pictures(); directory != "" {
		if err := os.WriteFile(filepath.Join(directory, d.UID+".png"), image, 0o644); err != nil {
			r.t.Error(err)
		}
	}
	decoded, err := png.Decode(bytes.NewReader(image))
	if err != nil {
		r.t.Errorf("%s: %v", d.UID, err)
		return
	}
	colours := map[[3]uint32]bool{}
	for y := 0; y < decoded.Bounds().Dy(); y += 3 {
		for x := 0; x < decoded.Bounds().Dx(); x += 3 {
			red, green, blue, _ := decoded.At(x, y).RGBA()
			colours[[3]uint32{red, green, blue}] = true
		}
	}
	if len(colours) < 50 {
		r.t.Errorf("the picture of %s has only %d colours", d.UID, len(colours))
	}
}

// shown is the time since the scrapes began.
func (r *rig) shown() picture.Options {
	return picture.Since(r.began, picture.Client{URL: r.prometheus.URL(), HTTP: http.DefaultClient})
}

// annotationsHaveData evaluates what marks the time line.
func (r *rig) annotationsHaveData() {
	r.t.Helper()
	options := r.shown()
	for _, e := range expressions(r.t) {
		if !strings.Contains(e.where, "annotation") {
			continue
		}
		series, err := options.Client.Range(r.t.Context(), picture.Interpolate(e.expr, options.Variables), options.Span)
		if err != nil || len(series) == 0 {
			r.t.Errorf("%s: no data (%v)", e.where, err)
		}
	}
}

// variablesHaveValues asks for the labels that the variables offer.
func (r *rig) variablesHaveValues() {
	r.t.Helper()
	for _, expr := range []string{"count by (job) (peerobserver_build_info)", "count by (instance) (peerobserver_build_info)", "peerobserver_node_up"} {
		samples, err := r.prometheus.Query(r.t.Context(), expr)
		if err != nil || len(samples) == 0 {
			r.t.Errorf("%s: no data (%v)", expr, err)
		}
	}
	// A choice of one instance narrows everything down to it, another to nothing.
	options := r.shown()
	for instance, want := range map[string]bool{r.instance(): true, "192.0.2.1:1": false} {
		options.Variables["instance"] = instance
		found := 0
		for _, d := range parsed(r.t) {
			if !slices.Contains([]string{"peerobserver-node", "peerobserver-observer"}, d.UID) {
				continue
			}
			for _, p := range d.Panels {
				for _, target := range p.Targets {
					if strings.Contains(target.Expr, "vector(0)") {
						continue
					}
					series, err := options.Ask(r.t.Context(), target)
					if err != nil {
						r.t.Fatal(err)
					}
					if !want && len(series) > 0 {
						r.t.Errorf("%s, %s: data of another instance", d.UID, p.Title)
					}
					found += len(series)
				}
			}
		}
		if want && found == 0 {
			r.t.Errorf("no data of the instance %s", instance)
		}
	}
}

// instance is the one that is scraped.
func (r *rig) instance() string {
	samples, err := r.prometheus.Query(r.t.Context(), "peerobserver_build_info")
	if err != nil || len(samples) != 1 {
		r.t.Fatalf("%d observers, %v", len(samples), err)
	}
	return samples[0].Labels["instance"]
}
