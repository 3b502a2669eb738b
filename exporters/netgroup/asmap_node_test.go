package netgroup

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// trie holds autonomous systems by prefix, to make an asmap of.
type trie struct {
	children [2]*trie
	as       uint32
}

func (n *trie) insert(p netip.Prefix, as uint32) {
	ip, length := p.Addr().As16(), p.Bits()
	if p.Addr().Is4() {
		length += 96
	}
	for i := range length {
		b := ip[i/8] >> (7 - i%8) & 1
		if n.children[b] == nil {
			n.children[b] = new(trie)
		}
		n = n.children[b]
	}
	n.as = as
}

// asWriter writes the program of an asmap, bit by bit.
type asWriter []byte

func (w *asWriter) number(value, minimum uint32, sizes []uint8) {
	value -= minimum
	for i, size := range sizes {
		last := i+1 == len(sizes)
		if !last && value >= 1<<size {
			*w = append(*w, 1)
			value -= 1 << size
			continue
		}
		if !last {
			*w = append(*w, 0)
		}
		for b := range size {
			*w = append(*w, byte(value>>(size-1-b)&1))
		}
		return
	}
}

func (w *asWriter) instruction(op instruction) { w.number(uint32(op), 0, typeSizes) }

// node writes a part of the trie; inherited is the system of the addresses that are in
// none of its prefixes.
func (w *asWriter) node(n *trie, inherited uint32) {
	left, right := n.children[0], n.children[1]
	if left == nil && right == nil {
		w.instruction(opReturn)
		w.number(n.as, 1, asSizes)
		return
	}
	if n.as != 0 && n.as != inherited {
		w.instruction(opDefault)
		w.number(n.as, 1, asSizes)
		inherited = n.as
	}
	if left != nil && right != nil {
		var first asWriter
		first.node(left, inherited)
		w.instruction(opJump)
		w.number(uint32(len(first)), 17, jumpSizes)
		*w = append(*w, first...)
		w.node(right, inherited)
		return
	}
	// One way only: as many bits as go without a choice, at most eight at a time.
	pattern := uint32(1)
	for bits.Len32(pattern) <= 8 {
		if n.children[1] != nil {
			pattern, n = pattern<<1|1, n.children[1]
		} else {
			pattern, n = pattern<<1, n.children[0]
		}
		single := (n.children[0] == nil) != (n.children[1] == nil)
		if !single || (n.as != 0 && n.as != inherited) {
			break
		}
	}
	w.instruction(opMatch)
	w.number(pattern, 2, matchSizes)
	w.node(n, inherited)
}

// encode packs the program, the first bit of a byte being its lowest.
func (w asWriter) encode() []byte {
	data := make([]byte, (len(w)+7)/8)
	for i, b := range w {
		data[i/8] |= b << (i % 8)
	}
	return data
}

// A real node with an asmap of many nested prefixes, made here from their list, gives
// every address the same system as this package: also addresses with an IPv4 address
// inside, and those that no asmap covers.
func TestASMapAsRealNode(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	root := new(trie)
	var prefixes []netip.Prefix
	add := func(p netip.Prefix) {
		p = p.Masked()
		prefixes = append(prefixes, p)
		root.insert(p, 1+random.Uint32N(1<<22))
	}
	octets := func() [4]byte {
		return [4]byte{byte(11 + random.IntN(80)), byte(random.IntN(256)), byte(random.IntN(256)), byte(1 + random.IntN(250))}
	}
	for range 50 {
		ip := octets()
		add(netip.PrefixFrom(netip.AddrFrom4(ip), 8+random.IntN(12)))
		add(netip.PrefixFrom(netip.AddrFrom4(ip), 20+random.IntN(13)))
		v6 := [16]byte{0x2a, byte(random.IntN(16)), byte(random.IntN(256)), byte(random.IntN(256)), byte(random.IntN(256))}
		add(netip.PrefixFrom(netip.AddrFrom16(v6), 20+random.IntN(12)))
		add(netip.PrefixFrom(netip.AddrFrom16(v6), 32+random.IntN(32)))
	}
	var program asWriter
	program.node(root, 0)
	data := program.encode()
	own, err := NewASMap(data)
	if err != nil {
		t.Fatalf("%d bytes: %v", len(data), err)
	}
	path := filepath.Join(t.TempDir(), "asmap.dat")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	node := regtest.ForTest(t, regtest.Config{Args: []string{"-asmap=" + path, "-checkaddrman=0"}})

	// Within every prefix, and anywhere.
	var texts []string
	for _, p := range prefixes {
		if p.Addr().Is4() {
			ip := p.Addr().As4()
			if p.Bits() <= 24 {
				ip[3] = byte(1 + random.IntN(250))
			}
			texts = append(texts, netip.AddrFrom4(ip).String(),
				fmt.Sprintf("2002:%02x%02x:%02x%02x::1", ip[0], ip[1], ip[2], ip[3]),
				fmt.Sprintf("64:ff9b::%02x%02x:%02x%02x", ip[0], ip[1], ip[2], ip[3]),
				fmt.Sprintf("2001:0:1:2:3:4:%02x%02x:%02x%02x", ^ip[0], ^ip[1], ^ip[2], ^ip[3]))
		} else {
			ip := p.Addr().As16()
			ip[15] = byte(1 + random.IntN(250))
			texts = append(texts, netip.AddrFrom16(ip).String())
		}
		texts = append(texts, netip.AddrFrom4(octets()).String())
	}
	texts = append(texts, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion",
		"ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p", "fc00:1::2")
	for _, text := range texts {
		// Addresses that find no place in the table are left out by the node.
		if err := node.Call(t.Context(), "addpeeraddress", []any{text, 8333, true}, nil); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	var tables map[string]map[string]struct {
		Address  string `json:"address"`
		MappedAS uint32 `json:"mapped_as"`
	}
	if err := node.Call(t.Context(), "getrawaddrman", nil, &tables); err != nil {
		t.Fatal(err)
	}
	compared, mapped, systems := 0, 0, map[uint32]bool{}
	for _, entries := range tables {
		for _, e := range entries {
			a := parse(t, e.Address)
			if got := own.ASOf(a); got != e.MappedAS {
				t.Errorf("%s: AS%d, the node has AS%d", e.Address, got, e.MappedAS)
			}
			group := GroupOf(a, own)
			if e.MappedAS != 0 && group != (Group{Class: IPv6, AS: e.MappedAS}) {
				t.Errorf("%s: group %+v, the node groups by AS%d", e.Address, group, e.MappedAS)
			}
			compared++
			if e.MappedAS != 0 {
				mapped++
				systems[e.MappedAS] = true
			}
		}
	}
	t.Logf("%d addresses compared, %d of them in %d autonomous systems; asmap of %d prefixes in %d bytes", compared, mapped, len(systems), len(prefixes), len(data))
	if compared < 400 || mapped < 250 || mapped == compared || len(systems) < 100 {
		t.Errorf("%d addresses compared, %d in %d systems: this proves little", compared, mapped, len(systems))
	}
}
