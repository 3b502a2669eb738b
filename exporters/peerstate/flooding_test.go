package peerstate

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Hash flooding: who knows the hash of a sketch can choose values that meet in one place, and
// make an estimate what he likes. Nobody knows the seed. The tests choose values against a seed
// that they do know, and show both: that the values are hostile to a sketch with that seed, and
// that they are like any others to one with another seed.

// gossiped is an address that a peer tells.
type gossiped struct {
	ip   string
	port uint32
}

// numbered is one of four billion addresses.
func numbered(n uint32) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b).String()
}

// gossipOf lets peers tell addresses to a state with a seed. It gives how many the state takes for
// distinct within a day, and how many for never heard of.
func gossipOf(t *testing.T, seed maphash.Seed, all []gossiped) (distinct, firstSeen uint64) {
	t.Helper()
	f := newFeeder(t)
	f.state = New(Config{Seed: seed})
	for len(all) > 0 {
		part := all[:min(len(all), addrMessageMax)]
		all = all[len(part):]
		list := make([]*eventpb.Address, 0, len(part))
		for _, a := range part {
			list = append(list, &eventpb.Address{Address: &eventpb.Address_Ipv4{Ipv4: a.ip}, Port: proto.Uint32(a.port)})
		}
		o := f.send(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
			Meta: &eventpb.Metadata{PeerId: proto.Uint64(1), Addr: proto.String("8.8.8.8:1"), Command: proto.String("addrv2"), Inbound: proto.Bool(true), Size: proto.Uint64(100)},
			Msg:  &eventpb.MessageEvent_Addrv2{Addrv2: &eventpb.AddrV2{Addresses: list}},
		}}})
		firstSeen += o.Addr.FirstSeen
	}
	f.now = f.now.Add(2 * time.Minute)
	f.message(1, true, "ping", 8)
	return f.state.Summarise().UniqueDay[decode.AddressIPv4], firstSeen
}

// off is the relative error of an estimate.
func off(estimate uint64, exact int) float64 { return math.Abs(float64(estimate)/float64(exact) - 1) }

// The bound of the estimate of distinct values: four times the standard error of 0.8 %.
const distinctBound = 0.033

// Addresses that meet in a few registers of the sketch of a known seed are counted right with
// another one.
func TestCraftedDistinctAddresses(t *testing.T) {
	known := maphash.MakeSeed()
	attacker := New(Config{Seed: known})
	const (
		// With fewer the sketch is exact.
		count = 30_000
		// prefix is how many bits are chosen: all is in an eighth of the registers.
		prefix = 3
	)
	var crafted []gossiped
	for n := uint32(1 << 24); len(crafted) < count; n++ {
		if a := (gossiped{numbered(n), 8333}); attacker.hashWithPort([]byte(a.ip), a.port)>>(64-prefix) == 0 {
			crafted = append(crafted, a)
		}
	}
	fooled, _ := gossipOf(t, known, crafted)
	if off(fooled, count) < 0.5 {
		t.Errorf("%d of %d addresses with the seed that they were chosen for: they are not hostile", fooled, count)
	}
	if got, _ := gossipOf(t, maphash.MakeSeed(), crafted); off(got, count) > distinctBound {
		t.Errorf("%d of %d addresses with another seed", got, count)
	}
}

// The ports of one address are no lever: the hashes of all of them are as good as any. What the
// port adds to the hash must depend on the seed, too.
func TestCraftedPorts(t *testing.T) {
	const ports = 1 << 16
	all := make([]gossiped, ports)
	for port := range all {
		all[port] = gossiped{"20.1.2.3", uint32(port)}
	}
	if got, _ := gossipOf(t, maphash.MakeSeed(), all); off(got, ports) > distinctBound {
		t.Errorf("%d of %d ports of one address", got, ports)
	}
	// Mixed in after the hash they are hostile whatever the seed is: they lie too evenly.
	mixed, address := newDistinct(24, int64(time.Hour)), maphash.String(maphash.MakeSeed(), "20.1.2.3")
	for port := range uint64(ports) {
		mixed.insert(address ^ port*0x9e3779b97f4a7c15)
	}
	if got := mixed.estimate(); off(got, ports) < 0.2 {
		t.Errorf("%d of %d ports that are mixed in after the hash: they are not hostile", got, ports)
	}
	// What a port changes in one address it doesn't change in another.
	s := New(Config{Seed: maphash.MakeSeed()})
	differs := func(ip string) uint64 {
		return s.hashWithPort([]byte(ip), 1) ^ s.hashWithPort([]byte(ip), 2)
	}
	if differs("20.1.2.3") == differs("20.1.2.4") {
		t.Error("two ports differ in the same way for every address")
	}
}

// New values that a filter of a known seed takes for old ones are new to one with another.
func TestCraftedOldValues(t *testing.T) {
	const (
		capacity = 1000
		count    = 500
		errors   = 0.01
	)
	known, secret := maphash.MakeSeed(), maphash.MakeSeed()
	filters := map[maphash.Seed]*seen{known: newSeen(capacity, errors, int64(time.Hour)), secret: newSeen(capacity, errors, int64(time.Hour))}
	now := int64(time.Hour)
	for n := range uint32(capacity - 1) {
		for seed, filter := range filters {
			filter.add(maphash.String(seed, numbered(n)), now)
		}
	}
	var crafted []string
	for n := uint32(1 << 24); len(crafted) < count; n++ {
		if text := numbered(n); filters[known].has(maphash.String(known, text)) {
			crafted = append(crafted, text)
		}
	}
	old := 0
	for _, text := range crafted {
		if filters[secret].has(maphash.String(secret, text)) {
			old++
		}
	}
	// Five are expected, and more than thirty don't come by chance.
	if old > 30 {
		t.Errorf("%d of %d crafted values are taken for old with another seed", old, count)
	}
}

// A few entries that were chosen to have the smallest hashes make two tables of addresses look
// alike to the sketch of a known seed, not to one with another.
func TestCraftedSimilarity(t *testing.T) {
	const (
		honest  = 20_000
		crafted = minHashSize
		prefix  = 10
	)
	known, secret := maphash.MakeSeed(), maphash.MakeSeed()
	var chosen []string
	for n := uint32(1 << 28); len(chosen) < crafted; n++ {
		if text := numbered(n); maphash.String(known, text)>>(64-prefix) == 0 {
			chosen = append(chosen, text)
		}
	}
	similarity := func(seed maphash.Seed) float64 {
		tables := [2]*minHash{newMinHash(minHashSize), newMinHash(minHashSize)}
		for i, table := range tables {
			// The honest entries have nothing in common.
			for n := range uint32(honest) {
				table.collect(maphash.String(seed, numbered(n+uint32(i+1)<<24)))
			}
			for _, text := range chosen {
				table.collect(maphash.String(seed, text))
			}
			table.finish()
		}
		return tables[0].similarity(tables[1])
	}
	if fooled := similarity(known); fooled < 0.8 {
		t.Errorf("similarity %v with the seed that the entries were chosen for: they are not hostile", fooled)
	}
	exact := float64(crafted) / (2*honest + crafted)
	if got := similarity(secret); math.Abs(got-exact) > 0.05 {
		t.Errorf("similarity %v with another seed, it is %v", got, exact)
	}
}

// No number of things that peers make up makes a table grow beyond its bound.
func TestTablesAreBounded(t *testing.T) {
	s := New(Config{})
	made := func(n int) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), uint64(n)) }
	group := func(n int) netgroup.Group {
		a, ok := netgroup.Parse([]byte(numbered(uint32(n) << 16)))
		if !ok {
			t.Fatalf("number %d is no address", n)
		}
		return netgroup.GroupOf(&a, nil)
	}
	var o Observation
	for n := range 2 * maxReplacements {
		s.mempool.replaced(s, &decode.Mempool{TxID: made(2 * n), ReplacementID: made(2*n + 1)}, &o)
	}
	for n := range 2 * maxBlocks {
		s.chain.announced(s, made(n), ViaInv, 0, &o)
	}
	s.heard.begin()
	for n := range maxHeard + 1000 {
		s.heard.entry(s.hash(made(n)), 1)
	}
	s.heard.end(1)
	for n := range 1000 {
		s.heardOf(s.hash(made(-n)), 1)
	}
	for n := range 2 * introducedGroups {
		g := group(20<<8 + n)
		s.openings.add(g, 1)
		of := s.introduced.current.of(g)
		of.rank++
	}
	p := &Peer{Inbound: true, HasAddress: true}
	p.Address, _ = netgroup.Parse([]byte("20.1.2.3"))
	for n := range 2 * agentsPerGroup {
		p.UserAgent = s.hash(made(n))
		s.introduced.version(p, 1)
	}
	for what, x := range map[string]struct{ got, want int }{
		"replacements":       {len(s.mempool.depth), maxReplacements},
		"blocks":             {len(s.chain.index), maxBlocks},
		"addresses":          {len(s.heard.first), maxHeard},
		"groups of openings": {len(s.openings.current.index), openingGroups},
		"introduced groups":  {len(s.introduced.current.index), introducedGroups},
		"user agents of one": {len(s.introduced.current.of(group(20<<8 + 1)).agents), agentsPerGroup},
	} {
		if x.got != x.want {
			t.Errorf("%d %s, want %d", x.got, what, x.want)
		}
	}
}
