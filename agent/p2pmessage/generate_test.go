package p2pmessage

import (
	"encoding/binary"
	"math/rand/v2"

	"pgregory.net/rapid"
)

// chooser makes the choices of a generator: a property test shrinks them, a benchmark
// takes them from a fixed seed.
type chooser interface {
	// intn is a number from 0 to n-1.
	intn(n int) int
	// bytes are n bytes.
	bytes(n int) []byte
}

type rapidChooser struct{ t *rapid.T }

func (c rapidChooser) intn(n int) int     { return rapid.IntRange(0, n-1).Draw(c.t, "n") }
func (c rapidChooser) bytes(n int) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(c.t, "b") }

type seededChooser struct{ r *rand.Rand }

func newSeeded(seed uint64) seededChooser {
	return seededChooser{rand.New(rand.NewPCG(seed, 1))}
}

func (c seededChooser) intn(n int) int { return c.r.IntN(n) }
func (c seededChooser) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.r.Uint32())
	}
	return b
}

// payload builds P2P payloads.
type payload []byte

func (p payload) u8(v uint8) payload   { return append(p, v) }
func (p payload) u32(v uint32) payload { return binary.LittleEndian.AppendUint32(p, v) }
func (p payload) u64(v uint64) payload { return binary.LittleEndian.AppendUint64(p, v) }
func (p payload) port(v uint16) payload {
	return binary.BigEndian.AppendUint16(p, v)
}
func (p payload) raw(b ...byte) payload { return append(p, b...) }

// compact writes a number in its shortest compact size form.
func (p payload) compact(v uint64) payload {
	switch {
	case v < 0xfd:
		return append(p, byte(v))
	case v < 1<<16:
		return binary.LittleEndian.AppendUint16(append(p, 0xfd), uint16(v))
	case v < 1<<32:
		return binary.LittleEndian.AppendUint32(append(p, 0xfe), uint32(v))
	default:
		return binary.LittleEndian.AppendUint64(append(p, 0xff), v)
	}
}

func (p payload) varBytes(b []byte) payload { return append(p.compact(uint64(len(b))), b...) }

// repeat writes a list of n elements, or of a few when n is negative.
func (p payload) repeat(c chooser, n int, element func(payload) payload) payload {
	if n < 0 {
		n = c.intn(6)
	}
	p = p.compact(uint64(n))
	for range n {
		p = element(p)
	}
	return p
}

func (p payload) hash(c chooser) payload { return p.raw(c.bytes(hashSize)...) }

func (p payload) header(c chooser) payload { return p.raw(c.bytes(blockHeaderSize)...) }

func (p payload) inventoryItem(c chooser) payload {
	kinds := []uint32{1, 2, 4, 5, 5, 5, 1<<30 | 1, 1<<30 | 2, 0, 3, 77, 1 << 31}
	return p.u32(kinds[c.intn(len(kinds))]).hash(c)
}

func (p payload) legacyIP(c chooser) payload {
	switch c.intn(4) {
	case 0:
		return p.raw([]byte(ipv4Prefix)...).raw(c.bytes(4)...)
	case 1:
		return p.raw([]byte(torV2Prefix)...).raw(c.bytes(torV2Size)...)
	case 2: // with zero groups
		ip := c.bytes(ipv6Size)
		from := c.intn(ipv6Size)
		clear(ip[from:min(ipv6Size, from+c.intn(ipv6Size))])
		return p.raw(ip...)
	default:
		return p.raw(c.bytes(ipv6Size)...)
	}
}

func (p payload) addrEntry(c chooser) payload {
	return p.raw(c.bytes(4)...).raw(c.bytes(8)...).legacyIP(c).raw(c.bytes(2)...)
}

func (p payload) addrV2Entry(c chooser) payload {
	p = p.raw(c.bytes(4)...)
	services := []uint64{0, 1, 1033, 1<<63 | 9, 70000}
	p = p.compact(services[c.intn(len(services))])
	networks := []Network{NetworkIPv4, NetworkIPv6, NetworkTorV2, NetworkTorV3, NetworkI2P, NetworkCJDNS, 7, 0, 255}
	network := networks[c.intn(len(networks))]
	size := network.size()
	if size == 0 {
		sizes := []int{0, 1, 32, 200, maxAddressSize}
		size = sizes[c.intn(len(sizes))]
	}
	return p.u8(uint8(network)).varBytes(c.bytes(size)).raw(c.bytes(2)...)
}

// transaction writes a transaction with the given number of inputs (negative for a
// few), about a third of them with witnesses.
func (p payload) transaction(c chooser) payload {
	inputs, outputs := 1+c.intn(3), c.intn(4)
	witness := c.intn(3) > 0
	p = p.u32(2)
	if witness {
		p = p.raw(0, 1)
	}
	p = p.repeat(c, inputs, func(p payload) payload {
		return p.hash(c).u32(uint32(c.intn(9))).varBytes(c.bytes(c.intn(3) * 60)).u32(0xfffffffe)
	})
	p = p.repeat(c, outputs, func(p payload) payload {
		return p.u64(uint64(c.intn(1 << 30))).varBytes(c.bytes(c.intn(2) * 22))
	})
	if witness {
		for i := range inputs {
			items := c.intn(3)
			if i == 0 {
				items++
			}
			p = p.repeat(c, items, func(p payload) payload { return p.varBytes(c.bytes(c.intn(2) * 300)) })
		}
	}
	return p.raw(c.bytes(4)...)
}

func (p payload) versionAddress(c chooser) payload {
	return p.u64(uint64(c.intn(2000))).legacyIP(c).raw(c.bytes(2)...)
}

func (p payload) text(c chooser, limit int) payload {
	b := c.bytes(c.intn(limit + 1))
	for i := range b {
		b[i] = ' ' + b[i]%95
	}
	return p.varBytes(b)
}

// messageType is a type that the decoder knows.
type messageType struct {
	name string
	// generate makes a well-formed payload.
	generate func(c chooser) payload
	// shorter says that a well-formed payload is still well-formed when its end is
	// missing, at least in some places.
	shorter bool
}

func inventoryList(c chooser) payload {
	return payload{}.repeat(c, -1, func(p payload) payload { return p.inventoryItem(c) })
}

func hashList(c chooser, p payload) payload {
	return p.repeat(c, -1, func(p payload) payload { return p.hash(c) })
}

func empty(chooser) payload { return payload{} }

// messageTypes is the table that all tests and fuzz targets run over.
func messageTypes() []messageType {
	locator := func(c chooser) payload { return hashList(c, payload{}.u32(70016)).hash(c) }
	return []messageType{
		{name: "version", shorter: true, generate: func(c chooser) payload {
			p := payload{}.u32(70016).raw(c.bytes(16)...).versionAddress(c)
			last := c.intn(5)
			if last > 0 {
				p = p.versionAddress(c).raw(c.bytes(8)...)
			}
			if last > 1 {
				p = p.text(c, maxUserAgent)
			}
			if last > 2 {
				p = p.raw(c.bytes(4)...)
			}
			if last > 3 {
				p = p.u8(uint8(c.intn(2)))
			}
			return p
		}},
		{name: "verack", generate: empty},
		{name: "addr", generate: func(c chooser) payload {
			return payload{}.repeat(c, -1, func(p payload) payload { return p.addrEntry(c) })
		}},
		{name: "addrv2", generate: func(c chooser) payload {
			return payload{}.repeat(c, -1, func(p payload) payload { return p.addrV2Entry(c) })
		}},
		{name: "sendaddrv2", generate: empty},
		{name: "inv", generate: inventoryList},
		{name: "getdata", generate: inventoryList},
		{name: "notfound", generate: inventoryList},
		{name: "merkleblock", generate: func(c chooser) payload {
			return hashList(c, payload{}.header(c).u32(uint32(c.intn(4000)))).varBytes(c.bytes(c.intn(5)))
		}},
		{name: "getblocks", generate: locator},
		{name: "getheaders", generate: locator},
		{name: "tx", generate: func(c chooser) payload { return payload{}.transaction(c) }},
		{name: "headers", generate: func(c chooser) payload {
			return payload{}.repeat(c, -1, func(p payload) payload { return p.header(c).u8(0) })
		}},
		{name: "block", generate: func(c chooser) payload {
			return payload{}.header(c).repeat(c, -1, func(p payload) payload { return p.transaction(c) })
		}},
		{name: "getaddr", generate: empty},
		{name: "mempool", generate: empty},
		{name: "ping", generate: func(c chooser) payload { return payload{}.raw(c.bytes(8)...) }},
		{name: "pong", generate: func(c chooser) payload { return payload{}.raw(c.bytes(8)...) }},
		{name: "filterload", generate: func(c chooser) payload {
			return payload{}.varBytes(c.bytes(c.intn(50))).u32(uint32(c.intn(51))).raw(c.bytes(4)...).raw(c.bytes(1)...)
		}},
		{name: "filteradd", generate: func(c chooser) payload { return payload{}.varBytes(c.bytes(c.intn(521))) }},
		{name: "filterclear", generate: empty},
		{name: "sendheaders", generate: empty},
		{name: "feefilter", generate: func(c chooser) payload { return payload{}.raw(c.bytes(8)...) }},
		{name: "sendcmpct", generate: func(c chooser) payload {
			return payload{}.u8(uint8(c.intn(2))).u64(uint64(c.intn(3)))
		}},
		{name: "cmpctblock", generate: func(c chooser) payload {
			p := payload{}.header(c).raw(c.bytes(8)...)
			p = p.repeat(c, -1, func(p payload) payload { return p.raw(c.bytes(shortIDSize)...) })
			return p.repeat(c, -1, func(p payload) payload {
				return p.compact(uint64(c.intn(maxBlockTransactions + 1))).transaction(c)
			})
		}},
		{name: "getblocktxn", generate: func(c chooser) payload {
			return payload{}.hash(c).repeat(c, -1, func(p payload) payload { return p.compact(uint64(c.intn(900))) })
		}},
		{name: "blocktxn", generate: func(c chooser) payload {
			return payload{}.hash(c).repeat(c, -1, func(p payload) payload { return p.transaction(c) })
		}},
		{name: "getcfilters", generate: func(c chooser) payload {
			return payload{}.u8(0).u32(uint32(c.intn(900000))).hash(c)
		}},
		{name: "cfilter", generate: func(c chooser) payload {
			return payload{}.u8(0).hash(c).varBytes(c.bytes(c.intn(300)))
		}},
		{name: "getcfheaders", generate: func(c chooser) payload {
			return payload{}.u8(0).u32(uint32(c.intn(900000))).hash(c)
		}},
		{name: "cfheaders", generate: func(c chooser) payload {
			return hashList(c, payload{}.u8(0).hash(c).hash(c))
		}},
		{name: "getcfcheckpt", generate: func(c chooser) payload { return payload{}.u8(0).hash(c) }},
		{name: "cfcheckpt", generate: func(c chooser) payload { return hashList(c, payload{}.u8(0).hash(c)) }},
		{name: "wtxidrelay", generate: empty},
		{name: "sendtxrcncl", generate: func(c chooser) payload { return payload{}.u32(1).raw(c.bytes(8)...) }},
		{name: "feature", generate: func(c chooser) payload {
			id := c.bytes(minFeatureID + c.intn(maxFeatureID-minFeatureID+1))
			for i := range id {
				id[i] = 'a' + id[i]%26
			}
			return payload{}.varBytes(id).varBytes(c.bytes(c.intn(maxFeatureData + 1)))
		}},
		{name: "reject", shorter: true, generate: func(c chooser) payload {
			codes := []uint8{0x01, 0x10, 0x11, 0x12, 0x40, 0x41, 0x42, 0x43, 0x02, 0x1f, 0x4f}
			p := payload{}.text(c, 12).u8(codes[c.intn(len(codes))]).text(c, 111)
			if c.intn(2) == 0 {
				p = p.hash(c)
			}
			return p
		}},
		{name: "alert", shorter: true, generate: func(c chooser) payload {
			return payload{}.varBytes(c.bytes(c.intn(200))).varBytes(c.bytes(c.intn(73)))
		}},
	}
}
