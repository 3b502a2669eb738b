// Package redact replaces the addresses in events by pseudonyms, so that what a node saw
// can be shared without telling where the node and its peers are.
//
// A pseudonym is made with a key: the same address always gets the same one, in every
// event and output, and without the key nobody can find out which address it stands for
// or check a guess. It is written like an address of the same network, from a range that
// nobody has, so that tools go on working and nobody dials a stranger.
package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// minKey is the least length of a key in bytes.
const minKey = 16

// maxKeyFile bounds a key file in bytes.
const maxKeyFile = 4 << 10

// Redactor makes pseudonyms. It may be used by several goroutines.
type Redactor struct {
	key  []byte
	plan *plan

	mu sync.Mutex
	// known holds pseudonyms, because most addresses come again and again.
	known map[netip.Addr]netip.Addr
}

// maxKnown bounds known, at about 100 bytes an entry.
const maxKnown = 16 << 10

// New makes a redactor. Whoever has the key can find addresses by trying all of them.
func New(key []byte) (*Redactor, error) {
	if len(key) < minKey {
		return nil, fmt.Errorf("the key for pseudonyms has %d bytes: make one of at least %d, such as with head -c 32 /dev/urandom", len(key), minKey)
	}
	p, err := eventPlan()
	if err != nil {
		return nil, err
	}
	return &Redactor{key: append([]byte(nil), key...), plan: p, known: map[netip.Addr]netip.Addr{}}, nil
}

// FromFile makes a redactor with the content of a file as its key.
func FromFile(path string) (*Redactor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s is no key for pseudonyms: it has %d bytes", path, info.Size())
	}
	key := make([]byte, maxKeyFile+1)
	n, err := f.Read(key)
	if err != nil && n == 0 {
		return nil, errors.Join(fmt.Errorf("%s: no key", path), err)
	}
	return New(key[:n])
}

// The kinds of what gets a pseudonym; the first byte that is hashed.
const (
	kindIPv4 byte = iota + 1
	kindIPv6
	kindOnionV2
	kindOnionV3
	kindI2P
	kindName
)

func (r *Redactor) hash(kind byte, what []byte) []byte {
	mac := hmac.New(sha256.New, r.key)
	_, _ = mac.Write([]byte{kind})
	_, _ = mac.Write(what)
	return mac.Sum(nil)
}

// ip gives the pseudonym of an IP address. IPv4 addresses get one of 240.0.0.0/4, which is
// reserved; of 10,000 addresses, two share one with a probability of a fifth. IPv6
// addresses get one of 4000::/16, which isn't assigned, those of CJDNS one of fc00::/8.
// The unspecified address, which is nobody's, stays.
func (r *Redactor) ip(ip netip.Addr) netip.Addr {
	ip = ip.WithZone("").Unmap()
	if ip.IsUnspecified() {
		return ip
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pseudonym, ok := r.known[ip]
	if !ok {
		pseudonym = r.newIP(ip)
		if len(r.known) >= maxKnown {
			clear(r.known)
		}
		r.known[ip] = pseudonym
	}
	return pseudonym
}

func (r *Redactor) newIP(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		b := ip.As4()
		h := r.hash(kindIPv4, b[:])
		return netip.AddrFrom4([4]byte{240 + h[0]%15, h[1], h[2], h[3]})
	}
	b := ip.As16()
	p := [16]byte(r.hash(kindIPv6, b[:]))
	if b[0] == 0xfc {
		p[0] = 0xfc
	} else {
		p[0], p[1] = 0x40, 0
	}
	return netip.AddrFrom16(p)
}

const (
	onionSuffix = ".onion"
	i2pSuffix   = ".b32.i2p"
)

func base32Lower() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// hidden gives the pseudonym of an onion or I2P name; ok is false for another name. The
// letters of its length are kept, its checksum isn't right, so that nobody can dial it.
func (r *Redactor) hidden(name string) (pseudonym string, ok bool) {
	name = strings.ToLower(name)
	kind, suffix := kindOnionV3, onionSuffix
	label, isOnion := strings.CutSuffix(name, onionSuffix)
	switch {
	case isOnion && len(label) == 16:
		kind = kindOnionV2
	case isOnion && (len(label) == 56 || len(label) == 52):
		// The existing eBPF extractor leaves out checksum and version.
		label = label[:52]
	default:
		if label, ok = strings.CutSuffix(name, i2pSuffix); !ok || len(label) != 52 {
			return "", false
		}
		kind, suffix = kindI2P, i2pSuffix
	}
	for i := range len(label) {
		if c := label[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return "", false
		}
	}
	if kind == kindOnionV3 {
		// The last of 52 letters holds bits of the checksum where that is there.
		label = label[:51]
	}
	h := base32Lower().EncodeToString(r.hash(kind, []byte(label)))
	switch kind {
	case kindOnionV2:
		return h[:16] + suffix, true
	case kindOnionV3:
		// A version that doesn't exist.
		return h[:51] + "aaaaa"[:len(name)-len(onionSuffix)-51] + suffix, true
	default:
		return h + suffix, true
	}
}

// name gives the pseudonym of a host name.
func (r *Redactor) name(name string) string {
	return "host-" + base32Lower().EncodeToString(r.hash(kindName, []byte(strings.ToLower(name)))[:10]) + ".invalid"
}
