package evidence

import (
	"slices"

	"github.com/peerobserver/peerobserver/exporters/decode"
)

// measure is what tells the peers that are to blame from the others.
type measure struct {
	// name says it to people.
	name string
	// of gives it for a peer; 0 for a peer that has no part in it. nil when no peer is to
	// blame, or nobody knows which.
	of func(p *peer, cpu float64) float64
	// types are those of the messages that count; nil when it isn't messages that do.
	types []decode.MessageType
}

// What is measured of a peer is that of the last minutes, see window.
func received(what string, value func(*count) float64, types ...decode.MessageType) measure {
	return measure{name: what, types: types, of: func(p *peer, _ float64) float64 {
		sum := 0.0
		for t, w := range p.received {
			if slices.Contains(types, t) {
				c := w.sum()
				sum += value(&c)
			}
		}
		return sum
	}}
}

func messages(c *count) float64  { return float64(c.messages) }
func entries(c *count) float64   { return float64(c.entries) }
func sizeBytes(c *count) float64 { return float64(c.bytes) }

func misbehaviours() measure {
	return measure{name: "misbehaviours", of: func(p *peer, _ float64) float64 { return float64(p.misbehaviours) }}
}

func cpuTime() measure {
	return measure{name: "seconds of CPU time of the node's message thread", of: func(_ *peer, cpu float64) float64 { return cpu }}
}

func info(what string, value func(*facts) float64) measure {
	return measure{name: what, of: func(p *peer, _ float64) float64 { return value(&p.facts) }}
}

// opened ranks the hosts that open connections: a peer counts with all connections of its
// host that are remembered.
func opened() measure {
	return measure{name: "inbound connections of its host", of: func(p *peer, _ float64) float64 {
		if !p.Inbound {
			return 0
		}
		return float64(p.ofHost)
	}}
}

func silent() measure {
	return measure{name: "inbound connections of its host without a version message", of: func(p *peer, _ float64) float64 {
		if !p.Inbound || p.greeted {
			return 0
		}
		return float64(p.ofHost)
	}}
}

func nobody() measure { return measure{} }

// measures says for each rule by what the peers are ranked. A test wants a line for every
// rule.
func measures() map[string]measure {
	transactions := received("received transactions", messages, decode.MessageTx)
	unread := info("received bytes of messages that the node can't read", func(f *facts) float64 { return float64(f.UnknownBytes) })
	addresses := received("received addresses", entries, decode.MessageAddr, decode.MessageAddrV2)
	requests := received("requested items", entries, decode.MessageGetData)
	return map[string]measure{
		"A01": opened(), "A02": opened(), "A03": opened(), "A04": addresses,
		"A05": addresses, "A06": addresses,
		"A08": nobody(), "A09": nobody(), "A12": nobody(), "A13": nobody(), "A14": nobody(),
		"B01": cpuTime(),
		"B02": info("announcements that wait for it", func(f *facts) float64 { return float64(f.InvToSend) }),
		"B03": received("announced items", entries, decode.MessageInv),
		"B04": received("received pings", messages, decode.MessagePing),
		"B05": requests, "B06": transactions,
		"B08": nobody(),
		"B09": received("received headers", entries, decode.MessageHeaders),
		"B10": received("received queries", messages, decode.MessageGetHeaders, decode.MessageGetBlocks, decode.MessageGetCFilters,
			decode.MessageGetCFHeaders, decode.MessageGetCFCheckpt, decode.MessageMempool, decode.MessageFilterLoad),
		"B11": unread, "B12": silent(),
		"C01": info("seconds since the node could last send it something", func(f *facts) float64 { return f.Unsent }),
		"C02": info("bytes of an unfinished message", func(f *facts) float64 { return float64(f.Incomplete) }),
		"C05": opened(), "C06": misbehaviours(),
		"D01": requests, "D02": requests,
		"E01": info("bytes of announcements that it got without giving anything", func(f *facts) float64 { return float64(f.listened) }),
		"E03": opened(),
		"E04": received("received requests for addresses", messages, decode.MessageGetAddr),
		"E09": silent(),
		"F01": info("blocks in flight", func(f *facts) float64 { return float64(f.Inflight) }),
		"F02": nobody(), "F03": nobody(),
		"F04": received("announced items", entries, decode.MessageInv),
		"F05": misbehaviours(), "F06": misbehaviours(),
		"F09": nobody(), "F10": nobody(),
		"G01": nobody(), "G02": nobody(),
		"G03": received("received headers", entries, decode.MessageHeaders),
		"G04": nobody(),
		"G06": info("offset of its clock in seconds", func(f *facts) float64 { return max(float64(f.TimeOffset), -float64(f.TimeOffset)) }),
		"H01": transactions, "H02": transactions, "H03": transactions, "H04": transactions,
		"I01": nobody(), "I02": nobody(), "I03": nobody(), "I04": nobody(),
		"I05": received("received bytes of messages of unknown types", sizeBytes, decode.MessageOther),
		"I06": nobody(), "I07": nobody(), "I08": nobody(), "I09": nobody(),
	}
}

// measureOf gives the measure of a rule; of rules that are unknown here, such as the
// operator's own, received bytes.
func measureOf(known map[string]measure, id string) measure {
	if m, ok := known[id]; ok {
		return m
	}
	var all []decode.MessageType
	for t := range decode.MessageTypes {
		all = append(all, t)
	}
	return received("received bytes", sizeBytes, all...)
}
