package p2pmessage

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

type benchmarkMessage struct {
	label, name string
	payload     payload
	// weight is how many of 10,000 messages a node relays are like this one: a guess.
	weight int
}

func benchmarkMessages() []benchmarkMessage {
	c := newSeeded(42)
	inv := func(n int) payload {
		return payload{}.repeat(c, n, func(p payload) payload { return p.u32(5).hash(c) })
	}
	// A share of networks as seen on mainnet: 60 % IPv4, 18 % IPv6, 22 % Tor.
	addrv2 := func(n int) payload {
		return payload{}.repeat(c, n, func(p payload) payload {
			p = p.u32(1700000000 + uint32(c.intn(1e6))).compact(1033)
			switch k := c.intn(100); {
			case k < 60:
				p = p.u8(uint8(NetworkIPv4)).varBytes(c.bytes(ipv4Size))
			case k < 78:
				p = p.u8(uint8(NetworkIPv6)).varBytes(c.bytes(ipv6Size))
			default:
				p = p.u8(uint8(NetworkTorV3)).varBytes(c.bytes(torV3Size))
			}
			return p.port(8333)
		})
	}
	headers := func(n int) payload {
		return payload{}.repeat(c, n, func(p payload) payload { return p.header(c).u8(0) })
	}
	// Transactions that spend P2WPKH outputs: 222 bytes with one input.
	tx := func(p payload, inputs int) payload {
		p = p.u32(2).raw(0, 1).repeat(c, inputs, func(p payload) payload {
			return p.hash(c).u32(1).varBytes(nil).u32(0xfffffffd)
		}).repeat(c, 2, func(p payload) payload { return p.u64(100_000).varBytes(c.bytes(22)) })
		for range inputs {
			p = p.u8(2).varBytes(c.bytes(72)).varBytes(c.bytes(33))
		}
		return p.u32(0)
	}
	block := func(n int) payload {
		return payload{}.header(c).repeat(c, n, func(p payload) payload { return tx(p, 1+c.intn(4)) })
	}
	compact := payload{}.header(c).u64(1).repeat(c, 3000, func(p payload) payload { return p.raw(c.bytes(6)...) }).
		u8(1).u8(0)
	compact = tx(compact, 1)
	version := payload{}.u32(70016).u64(3081).u64(1700000000).versionAddress(c).versionAddress(c).u64(9).
		varBytes([]byte("/Satoshi:31.0.0/")).u32(900_000).u8(1)
	nonce := payload{}.u64(0x1122334455667788)
	return []benchmarkMessage{
		{"inv1", "inv", inv(1), 1500},
		{"inv5", "inv", inv(5), 2500},
		{"inv35", "inv", inv(35), 1200},
		{"inv1000", "inv", inv(1000), 5},
		{"inv50000", "inv", inv(50_000), 0},
		{"tx222", "tx", tx(nil, 1), 1500},
		{"tx20k", "tx", tx(nil, 135), 30},
		{"addrv2_1", "addrv2", addrv2(1), 500},
		{"addrv2_10", "addrv2", addrv2(10), 60},
		{"addrv2_1000", "addrv2", addrv2(1000), 3},
		{"headers1", "headers", headers(1), 60},
		{"headers2000", "headers", headers(2000), 0},
		{"ping", "ping", nonce, 600},
		{"pong", "pong", nonce, 600},
		{"getdata1", "getdata", inv(1), 900},
		{"getdata16", "getdata", inv(16), 400},
		{"cmpctblock3000", "cmpctblock", compact, 1},
		{"block3000", "block", block(3000), 0},
		{"feefilter", "feefilter", payload{}.u64(1000), 100},
		{"version", "version", version, 15},
	}
}

// baseline is the usual way: decode to structs with btcd, turn them into protobuf
// structs, marshal those.
func baseline(tb testing.TB, m *Message) []byte {
	message, _, err := decodeWithBtcd(string(m.Type), m.Payload)
	if err != nil {
		tb.Fatal(err)
	}
	message.Meta = &eventpb.Metadata{
		PeerId:   proto.Uint64(m.PeerID),
		Addr:     proto.String(string(m.Address)),
		ConnType: ConnectionType(m.ConnectionType).ConnType().Enum(),
		Command:  proto.String(string(m.Type)),
		Inbound:  proto.Bool(m.Inbound),
		Size:     proto.Uint64(m.Size),

		ConnectionType: ConnectionType(m.ConnectionType).Enum(),
	}
	b, err := proto.Marshal(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{
		EbpfExtractor: &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: message}},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// BenchmarkEvent is the time from payload to encoded event, by message.
func BenchmarkEvent(b *testing.B) {
	coder := New()
	for _, bm := range benchmarkMessages() {
		b.Run(bm.label, func(b *testing.B) {
			m := wholeMessage(bm.name, bm.payload)
			buffer := event.NewBuffer(4096)
			b.ReportAllocs()
			b.SetBytes(int64(len(bm.payload)))
			for b.Loop() {
				buffer.Reset()
				coder.AppendEvent(buffer, m, Hit{})
			}
		})
	}
}

// BenchmarkAgainstBaseline runs ours and the baseline in turns and reports the time of
// both and how many times longer the baseline takes.
func BenchmarkAgainstBaseline(b *testing.B) {
	coder := New()
	for _, bm := range benchmarkMessages() {
		if bm.name == "cmpctblock" {
			continue // btcd doesn't have it
		}
		b.Run(bm.label, func(b *testing.B) {
			compareWithBaseline(b, coder, []*Message{wholeMessage(bm.name, bm.payload)})
		})
	}
}

// BenchmarkRelayMix is BenchmarkAgainstBaseline for what a node might see in a while.
func BenchmarkRelayMix(b *testing.B) {
	var mix []*Message
	for _, bm := range benchmarkMessages() {
		if bm.name != "cmpctblock" {
			for range bm.weight {
				mix = append(mix, wholeMessage(bm.name, bm.payload))
			}
		}
	}
	newSeeded(1).r.Shuffle(len(mix), func(i, j int) { mix[i], mix[j] = mix[j], mix[i] })
	compareWithBaseline(b, New(), mix)
}

func compareWithBaseline(b *testing.B, coder *Transcoder, messages []*Message) {
	// Turns of a few messages, and medians over the turns, so that what else the
	// machine does hits both and counts little.
	turn := min(32, max(1, 32*1024/len(messages[0].Payload)))
	if len(messages) > 1 {
		turn = 32
	}
	buffer := event.NewBuffer(4096)
	for _, m := range messages[:min(turn, len(messages))] { // grow the buffer
		coder.AppendEvent(buffer, m, Hit{})
		buffer.Reset()
	}
	var ours, theirs, ratios []float64
	batch, next := make([]*Message, turn), 0
	for b.Loop() {
		for i := range batch {
			batch[i] = messages[next%len(messages)]
			next++
		}
		start := time.Now()
		for _, m := range batch {
			buffer.Reset()
			coder.AppendEvent(buffer, m, Hit{})
		}
		middle := time.Now()
		for _, m := range batch {
			baseline(b, m)
		}
		o, t := float64(middle.Sub(start)), float64(time.Since(middle))
		ours, theirs, ratios = append(ours, o), append(theirs, t), append(ratios, t/o)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours)/float64(turn), "ns/event")
	b.ReportMetric(median(theirs)/float64(turn), "baseline-ns/event")
	b.ReportMetric(median(ratios), "times-faster")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
