package evidence

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Bounds of the records.
const (
	// maxRecords are kept; when there are more, the oldest that has ended goes first.
	maxRecords = 64
	// maxLabels are in a record.
	maxLabels = 16
)

// Record is the evidence of one alert.
type Record struct {
	ID       string `json:"id"`
	Alert    string `json:"alert"`
	Severity string `json:"severity"`
	// State is pending, firing or ended.
	State   string            `json:"state"`
	Summary string            `json:"summary"`
	Runbook string            `json:"runbook_url,omitempty"`
	Labels  map[string]string `json:"labels"`
	// Began is when the rule's condition began to hold, Noticed when the agent learnt of it.
	Began   time.Time `json:"began"`
	Noticed time.Time `json:"noticed"`
	// Fired is when the agent learnt that it fires, Ended that it has ended.
	Fired *time.Time `json:"fired,omitempty"`
	Ended *time.Time `json:"ended,omitempty"`
	// Value is what the rule saw: first, largest and last.
	First   float64 `json:"value_first"`
	Largest float64 `json:"value_largest"`
	Last    float64 `json:"value_last"`
	// Values are those of the metrics that the rule reads, when its value was largest.
	Values []value `json:"values"`
	// Measure says by what the peers are ranked, empty when no peer is to blame.
	Measure string    `json:"peers_by,omitempty"`
	Peers   []suspect `json:"peers"`

	key key
}

// copied is a copy that stays as it is: what is inside is replaced, never changed.
func (r *Record) copied() Record {
	c := *r
	c.Peers = slices.Clone(r.Peers)
	return c
}

// book is the records, oldest first.
type book struct {
	records   []*Record
	forgotten event.Counter
	// labels is the number of labels that were left out.
	labels event.Counter
}

// open gives the record of an alert, nil when there is no room for another one.
func (b *book) open(a *alert, now time.Time) *Record {
	key := a.key()
	for _, r := range b.records {
		if r.key == key && r.Ended == nil {
			return r
		}
	}
	if len(b.records) >= maxRecords {
		i := slices.IndexFunc(b.records, func(r *Record) bool { return r.Ended != nil })
		b.forgotten.Add(1)
		if i < 0 {
			return nil
		}
		b.records = slices.Delete(b.records, i, i+1)
	}
	r := &Record{
		ID: a.Labels["id"], Alert: cut(a.Labels["alertname"], maxAddress), Severity: cut(a.Labels["severity"], 32),
		Summary: cut(a.Annotations["summary"], maxText), Runbook: cut(a.Annotations["runbook_url"], maxText),
		Labels: map[string]string{}, Began: a.ActiveAt, Noticed: now, First: finite(a.number()), Largest: finite(a.number()), key: key,
	}
	// In a fixed order, so that of more than fit always the same are left out.
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if len(r.Labels) >= maxLabels {
			b.labels.Add(1)
			continue
		}
		r.Labels[cut(name, 64)] = cut(a.Labels[name], maxAddress)
	}
	b.records = append(b.records, r)
	return r
}

// update takes the present state of the alert and says whether its value was never larger.
func (r *Record) update(a *alert, now time.Time) bool {
	r.State = "pending"
	if a.State == "firing" {
		r.State = "firing"
		if r.Fired == nil {
			r.Fired = &now
		}
	}
	r.Last = finite(a.number())
	peak := r.Last >= r.Largest || len(r.Values) == 0
	r.Largest = max(r.Largest, r.Last)
	return peak
}

// finite makes a number that JSON has.
func finite(v float64) float64 {
	switch {
	case math.IsNaN(v):
		return 0
	case math.IsInf(v, 0):
		return math.Copysign(math.MaxFloat64, v)
	}
	return v
}

// addPeers adds the suspects of now to those of before: of each peer the state with the
// largest measure is kept. Once the rule has fired, those that there are stay, with the
// messages that they have; who comes later has places of its own.
func (r *Record) addPeers(name string, list []suspect, fired bool) {
	r.Measure = name
	for _, s := range list {
		i := slices.IndexFunc(r.Peers, func(p suspect) bool { return p.ID == s.ID && p.Address == s.Address })
		switch {
		case i < 0:
			s.AfterFiring = fired
			r.Peers = append(r.Peers, s)
		case s.Measure > r.Peers[i].Measure:
			s.AfterFiring = r.Peers[i].AfterFiring
			if fired {
				s.Last = r.Peers[i].Last
			}
			r.Peers[i] = s
		}
	}
	slices.SortStableFunc(r.Peers, func(a, b suspect) int { return cmp.Compare(b.Measure, a.Measure) })
	places := map[bool]int{}
	r.Peers = slices.Clip(slices.DeleteFunc(r.Peers, func(s suspect) bool {
		places[s.AfterFiring]++
		return places[s.AfterFiring] > maxSuspects
	}))
}

// end ends the records of alerts that are no longer active and gives copies; one that
// never fired goes.
func (b *book) end(active map[key]bool, now time.Time) (ended []Record) {
	b.records = slices.DeleteFunc(b.records, func(r *Record) bool {
		if r.Ended != nil || active[r.key] {
			return false
		}
		r.State, r.Ended = "ended", &now
		if r.Fired != nil {
			ended = append(ended, r.copied())
		}
		return r.Fired == nil
	})
	return ended
}

// of gives the records of a rule's id, newest first.
func (b *book) of(id string) []*Record {
	var list []*Record
	for _, r := range slices.Backward(b.records) {
		if strings.EqualFold(r.ID, id) {
			list = append(list, r)
		}
	}
	return list
}

// connectionTypeName is the name that Bitcoin Core gives it (ConnectionTypeAsString).
func connectionTypeName(t eventpb.ConnectionType) string {
	name := strings.ToLower(strings.TrimPrefix(t.String(), "CONNECTION_TYPE_"))
	return strings.ReplaceAll(name, "_", "-")
}
