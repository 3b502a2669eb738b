package websocket

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Reports tell clients a state that is no event: which alerts fire, and how long the node
// works for each peer. Of each only the newest waits for a client; an older one that it
// was too slow for is of no use any more.

// serviceInterval is the time between two reports of service times.
const serviceInterval = 5 * time.Second

// alertsKey is the key of the report on alerts. Those of service times have the node's
// name behind serviceKey.
const (
	alertsKey  = "alerts"
	serviceKey = "service "
)

// report is one that waits for a client.
type report struct {
	key     string
	encoded []byte
}

// report replaces what waits under the same key; the bytes are shared with other clients.
func (c *client) report(key string, encoded []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.reports, func(r report) bool { return r.key == key }); i >= 0 {
		c.reports[i].encoded = encoded
	} else {
		c.reports = append(c.reports, report{key: key, encoded: encoded})
	}
	c.wake()
}

// reportAlerts tells the clients that want to know.
func (s *Sink) reportAlerts(r *alertsReport) {
	encoded, err := json.Marshal(struct {
		Alerts *alertsReport `json:"alerts"`
	}{r})
	if err != nil {
		s.logger.Error("the alerts can't be told", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alerts = encoded
	for c := range s.clients {
		if c.subscription.alerts {
			c.report(alertsKey, encoded)
		}
	}
}

// serviceTimes is the report on one node.
type serviceTimes struct {
	Node string `json:"node"`
	// Time is that of the node's last event, in UNIX milliseconds. The report is about
	// the minute before.
	Time  int64         `json:"time_ms"`
	Peers []servicePeer `json:"peers"`
}

// servicePeer is the work of the node for one peer.
type servicePeer struct {
	ID       string  `json:"peer_id"`
	Messages uint64  `json:"messages"`
	Seconds  float64 `json:"seconds"`
	// CPU is absent where the kernel doesn't give CPU times.
	CPU *float64 `json:"cpu_seconds,omitempty"`
	// Message is the type of message with the most time.
	Message        string  `json:"message"`
	MessageSeconds float64 `json:"message_seconds"`
}

// noteWork follows the work that a tracepoint's event, which is in decoder, tells of; mu is
// held.
func (s *Sink) noteWork(e *event.Event) {
	w := s.work[e.NodeName]
	if w == nil {
		if len(s.work) >= maxNodes {
			return
		}
		w = peerstate.NewWorkTimes()
		s.work[strings.Clone(e.NodeName)] = w
	}
	w.Observe(e, &s.decoder)
}

// reportServiceTimes tells the clients that want to know.
func (s *Sink) reportServiceTimes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, w := range s.work {
		var encoded []byte
		for c := range s.clients {
			if !slices.Contains(c.subscription.serviceTimes, name) {
				continue
			}
			if encoded == nil {
				if encoded = s.encodeServiceTimes(name, w); encoded == nil {
					break
				}
			}
			c.report(serviceKey+name, encoded)
		}
	}
}

// encodeServiceTimes gives nil after an error, which is logged.
func (s *Sink) encodeServiceTimes(name string, w *peerstate.WorkTimes) []byte {
	times := serviceTimes{Node: name, Time: time.Unix(0, w.Now()).UnixMilli(), Peers: []servicePeer{}}
	for _, p := range w.Peers() {
		shown := servicePeer{
			ID: strconv.FormatUint(p.ID, 10), Messages: p.Messages, Seconds: p.Wall,
			Message: p.Type.String(), MessageSeconds: p.TypeWall,
		}
		if p.HasCPU {
			shown.CPU = &p.CPU
		}
		times.Peers = append(times.Peers, shown)
	}
	encoded, err := json.Marshal(map[string]any{"service_times": times})
	if err != nil {
		s.logger.Error("service times can't be told", "err", err)
		return nil
	}
	return encoded
}

// reportsFor gives a new subscription the reports that there are; mu is held.
func (s *Sink) reportsFor(c *client) {
	if c.subscription.alerts {
		c.report(alertsKey, s.alerts)
	}
	for _, name := range c.subscription.serviceTimes {
		if w := s.work[name]; w != nil {
			if encoded := s.encodeServiceTimes(name, w); encoded != nil {
				c.report(serviceKey+name, encoded)
			}
		}
	}
}
