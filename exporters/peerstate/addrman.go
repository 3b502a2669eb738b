package peerstate

import (
	"math"
	"slices"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// Tables of the address manager.
const (
	TableNew = iota
	TableTried
	Tables
)

// The size of the tables (addrman_impl.h). Positions beyond it are counted but not
// compared from poll to poll.
const (
	bucketSize   = 64
	newBuckets   = 1024
	triedBuckets = 256
)

// Ages and offsets by which entries are told apart, in seconds.
const (
	// terribleAge is the age from which on the node wants to be rid of an entry
	// (ADDRMAN_HORIZON), terribleFuture how far ahead its time may be.
	terribleAge    = int64(30 * 24 * 3600)
	terribleFuture = int64(600)
)

// similarityPeriod is how far apart two polls are whose tried tables are compared, in
// nanoseconds.
const similarityPeriod = int64(24 * time.Hour)

// minHashSize is the number of hashes that stand for a table: an error of 4 %.
const minHashSize = 512

// AddrmanSummary is a poll of getrawaddrman in numbers.
type AddrmanSummary struct {
	Tables [Tables]AddrmanTable
	// TriedSimilarity is the share that the tried table has in common with that of a
	// day before; NaN before a day has passed.
	TriedSimilarity float64
	// Compared says that there was an earlier poll to compare with.
	Compared bool
}

// AddrmanTable describes one table.
type AddrmanTable struct {
	// Positions that are filled, by network; of them those whose entry the node would
	// like to drop, and those dated ahead of now by more than 0 and 600 seconds.
	Positions, Terrible, Future, FarFuture [netgroup.Networks]int
	// Entries and Addresses are distinct: with and without the port.
	Entries, Addresses [netgroup.Networks]int
	// Ages are the ages of the entries in seconds, sorted.
	Ages []int64
	// DefaultPort counts entries with the port that most entries have.
	DefaultPort, OtherPort int
	// Services counts entries by service bit, as in AddrObservation.
	Services [ServiceBits]int
	// Systems are distinct autonomous systems, Sources distinct sources, SourceSystems
	// their systems; 0 stands for unknown and isn't counted.
	Systems, Sources, SourceSystems int
	// AS is how the entries are spread over the autonomous systems, of those that have
	// one.
	AS Concentration
	// Groups is how the entries are spread over groups, SourceGroups how the sources
	// of the entries are.
	Groups, SourceGroups Concentration
	// Changes against the poll before.
	Added, Replaced, Removed, NewServices, NewTime uint64
}

// addrman remembers the last poll.
type addrman struct {
	tables [Tables][]position
	// round marks the positions of the current poll.
	round uint32
	tried []dated
}

// position is what a position held.
type position struct {
	entry    uint64
	time     uint32
	services uint32
	round    uint32
}

// dated is a sketch of the tried table at a time.
type dated struct {
	at   int64
	hash *minHash
}

// maxDated bounds the sketches; one is kept for each hour.
const maxDated = 30

// Addrman takes an event of getrawaddrman; nil when it is damaged.
func (s *State) Addrman(data []byte) *AddrmanSummary {
	m := &s.addrman
	u := &AddrmanSummary{TriedSimilarity: math.NaN(), Compared: m.round > 0}
	m.round++
	if m.tables[TableNew] == nil {
		m.tables[TableNew] = make([]position, newBuckets*bucketSize)
		m.tables[TableTried] = make([]position, triedBuckets*bucketSize)
	}
	now := s.now / int64(time.Second)
	networks := s.networks.Current()
	var entries, addresses [Tables][netgroup.Networks][]uint64
	var sources [Tables][]uint64
	var systems [Tables]map[uint32]int
	var sourceSystems [Tables]map[uint32]struct{}
	var groups, sourceGroups [Tables]map[netgroup.Group]int
	var ports [Tables]map[uint32]int
	for t := range Tables {
		systems[t], sourceSystems[t] = map[uint32]int{}, map[uint32]struct{}{}
		groups[t], sourceGroups[t] = map[netgroup.Group]int{}, map[netgroup.Group]int{}
		ports[t] = map[uint32]int{}
	}
	tried := newMinHash(minHashSize)
	s.heard.begin()
	ok := decode.AddrmanEntries(data, func(e *decode.AddrmanEntry) {
		t := TableNew
		if e.Tried {
			t = TableTried
		}
		table := &u.Tables[t]
		network := networkNamed(string(e.Network))
		table.Positions[network]++
		age := now - e.Time
		table.Ages = append(table.Ages, age)
		switch {
		case -age > terribleFuture:
			table.FarFuture[network]++
			table.Future[network]++
			table.Terrible[network]++
		case age < 0:
			table.Future[network]++
		case age > terribleAge:
			table.Terrible[network]++
		}
		addressHash := s.hash(e.Address)
		entryHash := s.hashWithPort(e.Address, e.Port)
		addresses[t][network] = append(addresses[t][network], addressHash)
		entries[t][network] = append(entries[t][network], entryHash)
		s.heard.entry(addressHash, now)
		sources[t] = append(sources[t], s.hash(e.Source))
		if len(ports[t]) < 1<<16 {
			ports[t][e.Port]++
		}
		table.services(e.Services)
		group, as := place(networks, e.Address, e.AS)
		groups[t][group]++
		if as != 0 {
			systems[t][as]++
		}
		group, as = place(networks, e.Source, e.SourceAS)
		sourceGroups[t][group]++
		if as != 0 {
			sourceSystems[t][as] = struct{}{}
		}
		if e.Tried {
			tried.collect(entryHash)
		}
		m.compare(table, t, e, entryHash)
	})
	if !ok {
		return nil
	}
	s.heard.end(s.now)
	for t := range Tables {
		table := &u.Tables[t]
		for n := range netgroup.Networks {
			table.Entries[n] = countDistinct(entries[t][n])
			table.Addresses[n] = countDistinct(addresses[t][n])
		}
		table.Sources = countDistinct(sources[t])
		table.Systems, table.SourceSystems = len(systems[t]), len(sourceSystems[t])
		table.AS = concentrationOf(systems[t])
		table.Groups, table.SourceGroups = concentrationOf(groups[t]), concentrationOf(sourceGroups[t])
		all := 0
		for _, n := range ports[t] {
			table.DefaultPort = max(table.DefaultPort, n)
			all += n
		}
		table.OtherPort = all - table.DefaultPort
		slices.Sort(table.Ages)
		m.removed(table, t)
	}
	tried.finish()
	u.TriedSimilarity = m.similarity(tried, s.now)
	return u
}

// place gives group and autonomous system of an address; as is what the node says.
func place(networks *netgroup.Snapshot, text []byte, as uint32) (netgroup.Group, uint32) {
	a, ok := netgroup.Parse(text)
	if !ok {
		return netgroup.Group{}, as
	}
	group := networks.Group(&a)
	if group.AS != 0 {
		return group, group.AS
	}
	if as != 0 {
		return netgroup.Group{Class: netgroup.IPv6, AS: as}, as
	}
	return group, 0
}

func (t *AddrmanTable) services(bits uint64) {
	eachService(bits, func(place int) { t.Services[place]++ })
}

// compare holds a position against the poll before and remembers it.
func (m *addrman) compare(table *AddrmanTable, t int, e *decode.AddrmanEntry, entry uint64) {
	i := uint64(e.Bucket)*bucketSize + uint64(e.Position)
	if e.Position >= bucketSize || i >= uint64(len(m.tables[t])) {
		return
	}
	p := &m.tables[t][i]
	services := uint32(e.Services) ^ uint32(e.Services>>32)
	time := uint32(e.Time)
	if m.round > 1 {
		switch {
		case p.round == 0:
			table.Added++
		case p.entry != entry:
			table.Replaced++
		default:
			if p.services != services {
				table.NewServices++
			}
			if p.time != time {
				table.NewTime++
			}
		}
	}
	*p = position{entry: entry, time: time, services: services, round: m.round}
}

// removed counts and forgets the positions that were filled and are empty now.
func (m *addrman) removed(table *AddrmanTable, t int) {
	for i := range m.tables[t] {
		p := &m.tables[t][i]
		if p.round != 0 && p.round != m.round {
			table.Removed++
			*p = position{}
		}
	}
}

// similarity compares with the sketch of a day before and keeps the new one.
func (m *addrman) similarity(now *minHash, at int64) float64 {
	result := math.NaN()
	for _, d := range m.tried {
		if at-d.at < similarityPeriod {
			break
		}
		result = now.similarity(d.hash)
	}
	if n := len(m.tried); n == 0 || at-m.tried[n-1].at >= int64(time.Hour) {
		if n >= maxDated {
			m.tried = append(m.tried[:0], m.tried[1:]...)
		}
		m.tried = append(m.tried, dated{at, now})
	}
	return result
}

// countDistinct sorts the list.
func countDistinct(list []uint64) int {
	slices.Sort(list)
	n := 0
	for i, v := range list {
		if i == 0 || v != list[i-1] {
			n++
		}
	}
	return n
}
