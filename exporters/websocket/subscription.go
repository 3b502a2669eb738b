package websocket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/peerobserver/peerobserver/exporters/logger"
)

// Limits of a subscription.
const (
	// maxRequest is the largest frame that a client may send, in bytes.
	maxRequest = 16 << 10
	maxFilters = 16
	// maxValues bounds each list of a filter.
	maxValues = 64
)

// request is what a client sends to say what it wants. The switches are those of the
// existing peer-observer; an event is sent when a switch or a filter lets it through.
type request struct {
	EBPF struct {
		Messages    bool `json:"messages"`
		Connections bool `json:"connections"`
		Mempool     bool `json:"mempool"`
		Validation  bool `json:"validation"`
		// Addrman has had no events since 2026; old clients may send it.
		Addrman   bool `json:"addrman"`
		UTXOCache bool `json:"utxo_cache"`
	} `json:"ebpf"`
	RPC      bool `json:"rpc"`
	P2P      bool `json:"p2p"`
	Log      bool `json:"log"`
	IPC      bool `json:"ipc"`
	Observer bool `json:"observer"`

	Filters []filterRequest `json:"filters"`
	// Brief leaves out the bulk of what is large.
	Brief bool `json:"brief"`
	// Batch sends several events in a frame, one a line.
	Batch bool `json:"batch"`
	// Notices tells what was lost, and where a subscription begins.
	Notices bool `json:"notices"`
	// Retained begins with what is kept: the state of each node and its last blocks.
	Retained bool `json:"retained"`
	// Alerts tells which alerts fire, ServiceTimes how long the nodes of these names
	// work for each of their peers.
	Alerts       bool     `json:"alerts"`
	ServiceTimes []string `json:"service_times"`
}

// filterRequest lets through what is in each of its lists; an empty one has everything.
type filterRequest struct {
	Nodes     []string `json:"nodes"`
	Sources   []string `json:"sources"`
	Events    []string `json:"events"`
	Messages  []string `json:"messages"`
	Direction string   `json:"direction"`
	Peers     []string `json:"peers"`
}

// subscription is a request that was understood. The zero value wants nothing.
type subscription struct {
	filters                         []filter
	brief, batch, notices, retained bool
	alerts                          bool
	serviceTimes                    []string
}

type filter struct {
	logger.Filter
	nodes []string
}

// parseSubscription reads a request. The text of an error is for its sender.
func parseSubscription(text []byte) (subscription, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var r request
	if err := decoder.Decode(&r); err != nil {
		return subscription{}, fmt.Errorf("subscription: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return subscription{}, errors.New("subscription: more than one JSON value")
	}
	if len(r.Filters) > maxFilters {
		return subscription{}, fmt.Errorf("subscription: %d filters, at most %d are taken", len(r.Filters), maxFilters)
	}
	if len(r.ServiceTimes) > maxValues {
		return subscription{}, fmt.Errorf("subscription: service times of %d nodes, at most %d are taken", len(r.ServiceTimes), maxValues)
	}
	s := subscription{
		brief: r.Brief, batch: r.Batch, notices: r.Notices, retained: r.Retained, alerts: r.Alerts, serviceTimes: r.ServiceTimes,
	}
	for _, request := range append(r.switches(), r.Filters...) {
		for _, list := range [][]string{request.Nodes, request.Sources, request.Events, request.Messages, request.Peers} {
			if len(list) > maxValues {
				return subscription{}, fmt.Errorf("subscription: a list of %d values, at most %d are taken", len(list), maxValues)
			}
		}
		parsed, err := logger.ParseFilter(request.Sources, request.Events, request.Messages, request.Direction, request.Peers)
		if err != nil {
			return subscription{}, fmt.Errorf("subscription: %w", err)
		}
		s.filters = append(s.filters, filter{Filter: parsed, nodes: request.Nodes})
	}
	return s, nil
}

// switches gives the filters that the switches stand for.
func (r *request) switches() []filterRequest {
	var list []filterRequest
	for _, s := range []struct {
		on            bool
		source, event string
	}{
		{r.EBPF.Messages, "", "message"},
		{r.EBPF.Connections, "", "connection"},
		{r.EBPF.Mempool, "", "mempool"},
		{r.EBPF.Validation, "", "validation"},
		{r.EBPF.UTXOCache, "", "utxo_cache"},
		{r.RPC, "rpc", ""},
		{r.P2P, "p2p", ""},
		{r.Log, "log", ""},
		{r.IPC, "ipc", ""},
		{r.Observer, "observer", ""},
	} {
		switch {
		case !s.on:
		case s.source != "":
			list = append(list, filterRequest{Sources: []string{s.source}})
		default:
			list = append(list, filterRequest{Events: []string{s.event}})
		}
	}
	return list
}

// wants says whether the event is subscribed to.
func (s *subscription) wants(d *delivery) bool {
	for i := range s.filters {
		f := &s.filters[i]
		if len(f.nodes) > 0 && !slices.Contains(f.nodes, d.event.NodeName) || !f.Admits(d.event) {
			continue
		}
		if !f.NeedsDecoding(d.event) {
			return true
		}
		if decoded := d.decode(); decoded != nil && f.AdmitsDecoded(decoded) {
			return true
		}
	}
	return false
}
