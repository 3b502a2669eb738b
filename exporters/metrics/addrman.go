package metrics

import (
	"math"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
)

// addrman describes the node's address manager as getrawaddrman lists it.
type addrman struct {
	age *age

	entries, distinct, addresses    *gauges
	terrible, future                *gauges
	ageQuantile, ageBucket          *gauges
	ports, services                 *gauges
	systems, sources, sourceSystems *gauges
	groupTop, groupEntropy          *gauges
	systemTop, systemEntropy        *gauges
	sourceTop, sourceEntropy        *gauges
	similarity                      *gauges
	changes                         *counters
}

// ageQuantiles are the quantiles of the ages of entries.
var ageQuantiles = []float64{0.1, 0.25, 0.5, 0.75, 0.9}

// ageBounds are the ages in seconds up to which entries are counted: 1 and 6 hours, 1,
// 3, 7, 14, 30, 60 and 90 days.
var ageBounds = []struct {
	name    string
	seconds int64
}{
	{"1h", 3600}, {"6h", 21_600}, {"1d", 86_400}, {"3d", 259_200}, {"7d", 604_800}, {"14d", 1_209_600},
	{"30d", 2_592_000}, {"60d", 5_184_000}, {"90d", 7_776_000},
}

func newAddrman(r *registry, l *labels, status *status) *addrman {
	m := &addrman{age: polled(status.gone(event.SourceRPC))}
	const events = "rpc.addrman"
	gauge := func(name, unit, help string, labels ...*label) *gauges {
		return r.gauge(spec{name: name, events: events, unit: unit, help: help}, m.age, labels...)
	}
	m.entries = gauge("addrman_entries", "positions", "Filled positions of the address manager; an address of the new table may have several.", l.table, l.network)
	m.distinct = gauge("addrman_distinct_entries", "addresses", "Distinct addresses with port in the address manager.", l.table, l.network)
	m.addresses = gauge("addrman_distinct_addresses", "addresses", "Distinct addresses without port in the address manager.", l.table, l.network)
	m.terrible = gauge("addrman_terrible_entries", "positions", "Entries that the node would like to drop by their time: older than 30 days or more than ten minutes ahead.", l.table, l.network)
	m.future = gauge("addrman_future_entries", "positions", "Entries with a time that lies more than the given number of seconds ahead.", l.table, l.network, closedLabel("min_offset_seconds", "0", "600"))
	m.ageQuantile = gauge("addrman_entry_age_seconds", "seconds", "Age of the entries: quantiles.", l.table, quantileLabel(ageQuantiles))
	var names []string
	for _, b := range ageBounds {
		names = append(names, b.name)
	}
	m.ageBucket = gauge("addrman_entries_younger", "positions", "Entries that are not older than the given age.", l.table, closedLabel("age", names...))
	m.ports = gauge("addrman_ports", "positions", "Entries with the port that most have, and with any other.", l.table, closedLabel("port", "default", other))
	m.services = gauge("addrman_services", "positions", "Entries by the services that they are said to offer; an entry counts once for each, other stands for any further service bit.", l.table, serviceLabel())
	m.systems = gauge("addrman_distinct_as", "autonomous systems", "Distinct autonomous systems of the entries.", l.table)
	m.sources = gauge("addrman_distinct_sources", "addresses", "Distinct addresses from which the node has the entries.", l.table)
	m.sourceSystems = gauge("addrman_distinct_source_as", "autonomous systems", "Distinct autonomous systems from which the node has the entries.", l.table)
	m.groupTop = gauge("addrman_netgroup_top_ratio", "share", "Share of the largest network group in the entries.", l.table)
	m.groupEntropy = gauge("addrman_netgroup_entropy_ratio", "entropy by its maximum", "How evenly the entries are spread over network groups.", l.table)
	m.systemTop = gauge("addrman_as_top_ratio", "share", "Share of the largest autonomous system in the entries that have one.", l.table)
	m.systemEntropy = gauge("addrman_as_entropy_ratio", "entropy by its maximum", "How evenly the entries that have an autonomous system are spread over these.", l.table)
	m.sourceTop = gauge("addrman_source_netgroup_top_ratio", "share", "Share of the network group from which the node has most entries.", l.table)
	m.sourceEntropy = gauge("addrman_source_netgroup_entropy_ratio", "entropy by its maximum", "How evenly the sources of the entries are spread over network groups.", l.table)
	m.similarity = gauge("addrman_tried_similarity_ratio", "share", "What the tried table has in common with that of a day before (Jaccard index, estimated to 4 %).")
	m.changes = r.counter(spec{
		name: "addrman_changes_total", events: events, unit: "positions",
		help: "Positions that changed from one poll to the next: filled, with another address, emptied, or with the same address and other services or another time.",
	}, l.table, closedLabel("change", "added", "replaced", "removed", "services", "time"))
	return m
}

func (m *addrman) set(u *peerstate.AddrmanSummary, at int64) {
	for t := range peerstate.Tables {
		table := &u.Tables[t]
		for n := range netgroup.Networks {
			if u.Tables[peerstate.TableNew].Positions[n]+u.Tables[peerstate.TableTried].Positions[n] == 0 {
				m.hide(t, int(n))
				continue
			}
			m.entries.at2(t, int(n)).set(float64(table.Positions[n]))
			m.distinct.at2(t, int(n)).set(float64(table.Entries[n]))
			m.addresses.at2(t, int(n)).set(float64(table.Addresses[n]))
			m.terrible.at2(t, int(n)).set(float64(table.Terrible[n]))
			m.future.at3(t, int(n), 0).set(float64(table.Future[n]))
			m.future.at3(t, int(n), 1).set(float64(table.FarFuture[n]))
		}
		m.ages(t, table.Ages)
		m.ports.at2(t, 0).set(float64(table.DefaultPort))
		m.ports.at2(t, 1).set(float64(table.OtherPort))
		counts := make([]float64, len(services)+1)
		for bit, n := range table.Services {
			counts[servicePlace(bit)] += float64(n)
		}
		for place, n := range counts {
			m.services.at2(t, place).set(n)
		}
		m.systems.at(t).set(float64(table.Systems))
		m.sources.at(t).set(float64(table.Sources))
		m.sourceSystems.at(t).set(float64(table.SourceSystems))
		m.groupTop.at(t).set(table.Groups.Top)
		m.groupEntropy.at(t).set(table.Groups.Entropy)
		m.systemTop.at(t).set(table.AS.Top)
		m.systemEntropy.at(t).set(table.AS.Entropy)
		m.sourceTop.at(t).set(table.SourceGroups.Top)
		m.sourceEntropy.at(t).set(table.SourceGroups.Entropy)
		for change, n := range []uint64{table.Added, table.Replaced, table.Removed, table.NewServices, table.NewTime} {
			m.changes.at2(t, change).add(n)
		}
	}
	m.similarity.set(u.TriedSimilarity)
	m.age.touch(at)
}

// hide takes a network away of which the address manager has nothing.
func (m *addrman) hide(t, network int) {
	for _, g := range []*gauges{m.entries, m.distinct, m.addresses, m.terrible} {
		g.at2(t, network).set(absent)
	}
	m.future.at3(t, network, 0).set(absent)
	m.future.at3(t, network, 1).set(absent)
}

// ages sets quantiles and counts of the sorted ages of a table.
func (m *addrman) ages(t int, ages []int64) {
	for i, q := range ageQuantiles {
		v := absent
		if len(ages) > 0 {
			v = float64(ages[int(math.Round(q*float64(len(ages)-1)))])
		}
		m.ageQuantile.at2(t, i).set(v)
	}
	n := 0
	for i, b := range ageBounds {
		for n < len(ages) && ages[n] <= b.seconds {
			n++
		}
		m.ageBucket.at2(t, i).set(float64(n))
	}
}
