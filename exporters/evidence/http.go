package evidence

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/peerobserver/peerobserver/exporters/redact"
)

// Path is where the records are served: all of them, and below it those of a rule.
const Path = "/alerts/evidence"

// index is the answer to a request for all records.
type index struct {
	Prometheus string     `json:"prometheus"`
	Asked      *time.Time `json:"asked,omitempty"`
	Failed     string     `json:"failed,omitempty"`
	// Addresses says whether this answer has addresses, or pseudonyms instead.
	Addresses bool `json:"addresses"`
	// Forgotten are what there was no room for.
	ForgottenPeers   uint64   `json:"forgotten_peers"`
	ForgottenRecords uint64   `json:"forgotten_records"`
	Records          []Record `json:"records"`
}

// Handler serves the records as JSON: at Path all of them, at Path/ID those of a rule, the
// newest first.
func (s *Sink) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, "") })
	mux.HandleFunc("GET "+Path+"/{id}", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, r.PathValue("id")) })
	return mux
}

func (s *Sink) serve(w http.ResponseWriter, r *http.Request, id string) {
	answer := index{
		Prometheus: redactedURL(s.config.URL),
		Addresses:  s.config.Addresses == AddressesAlways || (s.config.Addresses == AddressesLoopback && onLoopback(r)),
	}
	s.mu.Lock()
	answer.Failed, answer.ForgottenPeers, answer.ForgottenRecords = s.state.failed, s.peers.forgotten.Value(), s.records.forgotten.Value()
	if s.state.known {
		asked := s.state.asked
		answer.Asked = &asked
	}
	records := s.records.of(id)
	if id == "" {
		records = slices.Clone(s.records.records)
		slices.Reverse(records)
	}
	answer.Records = make([]Record, 0, len(records))
	for _, record := range records {
		answer.Records = append(answer.Records, record.copied())
	}
	s.mu.Unlock()
	if !answer.Addresses {
		answer.redact(s)
	}
	if id != "" && len(answer.Records) == 0 {
		http.Error(w, "There is no evidence of that rule: it has not fired since the agent started, or too long ago.", http.StatusNotFound)
		return
	}
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(append(text, '\n'))
}

// redact replaces addresses, and whatever looks like one in texts of strangers.
func (x *index) redact(s *Sink) {
	x.Prometheus, x.Failed = "", string(s.config.Redactor.AppendText(nil, []byte(x.Failed)))
	for i := range x.Records {
		x.Records[i].redact(s.config.Redactor)
	}
}

// redact replaces addresses in a copy of a record.
func (r *Record) redact(redactor *redact.Redactor) {
	text := func(t string) string { return string(redactor.AppendText(nil, []byte(t))) }
	labels := map[string]string{}
	for name, v := range r.Labels {
		labels[name] = text(v)
	}
	r.Labels, r.Summary, r.Runbook = labels, text(r.Summary), text(r.Runbook)
	for j := range r.Peers {
		p := &r.Peers[j]
		p.Address = string(redactor.AppendAddress(nil, []byte(p.Address)))
		p.Facts.UserAgent, p.Reason = text(p.Facts.UserAgent), text(p.Reason)
	}
}
