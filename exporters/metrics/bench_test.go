package metrics_test

import (
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// samples are single events of the kinds that come in great numbers.
func samples(b *testing.B) map[string]*event.Event {
	b.Helper()
	list := map[string]*event.Event{}
	name := ""
	r := newRig(b, metrics.Config{}, sinkFunc(func(e *event.Event) {
		e2 := *e
		e2.Data = append([]byte(nil), e.Data...)
		list[name] = &e2
	}))
	nonce := &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(1 << 40)}}}
	invOf := func(n int) *eventpb.MessageEvent {
		return inv(inventory(n, func(i int) *eventpb.InventoryItem { return wtx(hash("x", i)) })...)
	}
	addresses := func(n int) *eventpb.MessageEvent {
		m := addrV2()
		for i := range n {
			m.GetAddrv2().Addresses = append(m.GetAddrv2().GetAddresses(), ipv4(fmt.Sprintf("8.%d.%d.9", i/256, i%256), start, 1033))
		}
		m.ElementCount = proto.Uint64(uint64(n))
		return m
	}
	for _, s := range []struct {
		name string
		send func()
	}{
		{"ping", func() { r.message(alice, true, "ping", 8, nonce) }},
		{"inv5", func() { r.message(alice, true, "inv", 181, invOf(5)) }},
		{"inv35", func() { r.message(alice, true, "inv", 1261, invOf(35)) }},
		{"inv1000", func() { r.message(alice, true, "inv", 36003, invOf(1000)) }},
		{"getdata1", func() { r.message(alice, false, "getdata", 37, getData(wtx(hash("x", 1)))) }},
		{"tx250", func() { r.message(alice, true, "tx", 250, txMessage(hash("x", 1))) }},
		{"addrv2_1", func() { r.message(alice, true, "addrv2", 30, addresses(1)) }},
		{"addrv2_1000", func() { r.message(alice, true, "addrv2", 30_000, addresses(1000)) }},
		{"mempool_added", func() {
			r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{Added: &eventpb.Added{Txid: hash("x", 1), Vsize: proto.Int32(140), Fee: proto.Int64(1)}}})
		}},
		{"connection", func() { r.open(alice) }},
		{"log", func() {
			r.log(&eventpb.LogExtractor{LogLineBytes: proto.Uint64(90), LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{RawMessage: proto.String("UpdateTip: new best")}}})
		}},
	} {
		name = s.name
		s.send()
	}
	return list
}

type sinkFunc func(e *event.Event)

func (f sinkFunc) HandleEvent(e *event.Event) { f(e) }

// cpuTime is the CPU time that the process has used: on a busy machine it says more than
// the time that has passed.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loop runs f as a benchmark and reports its CPU time.
func loop(b *testing.B, f func()) {
	b.Helper()
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkEvent measures the sink an event, and beside it what it would cost to decode
// the generated types and to look up two counters by their label values, without any of
// the rest.
func BenchmarkEvent(b *testing.B) {
	list := samples(b)
	for _, name := range []string{
		"ping", "inv5", "inv35", "inv1000", "getdata1", "tx250", "addrv2_1", "addrv2_1000", "mempool_added", "connection", "log",
	} {
		e := list[name]
		b.Run(name+"/sink", func(b *testing.B) {
			sink, err := metrics.New(metrics.Config{})
			if err != nil {
				b.Fatal(err)
			}
			at := *e
			loop(b, func() {
				at.KernelTime += 1_000_000
				at.ReceiveTime += 1_000_000
				sink.HandleEvent(&at)
			})
		})
		b.Run(name+"/baseline", func(b *testing.B) {
			labels := []string{"message", "direction", "connection_type"}
			messages := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "messages_total"}, labels)
			bytes := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bytes_total"}, labels)
			items := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "items_total"}, []string{"type"})
			loop(b, func() {
				var body eventpb.Event
				if err := proto.Unmarshal(e.Data, &body); err != nil {
					b.Fatal(err)
				}
				meta := body.GetEbpfExtractor().GetMessage().GetMeta()
				messages.WithLabelValues(meta.GetCommand(), "inbound", meta.GetConnType().String()).Inc()
				bytes.WithLabelValues(meta.GetCommand(), "inbound", meta.GetConnType().String()).Add(float64(meta.GetSize()))
				for _, item := range body.GetEbpfExtractor().GetMessage().GetInv().GetItems() {
					if item.GetWtx() != nil {
						items.WithLabelValues("wtx").Inc()
					}
				}
			})
		})
	}
}

// BenchmarkScrape measures a scrape of what a node has after some minutes of life, and
// under attack, while events come in.
func BenchmarkScrape(b *testing.B) {
	for _, state := range []string{"normal", "hostile"} {
		b.Run(state, func(b *testing.B) {
			r := newRig(b, metrics.Config{})
			r.normalLife(3)
			if state == "hostile" {
				r.hostile(100_000)
				r.normalLife(1)
			}
			series := len(gather(b, r.sink.Registry()))
			loop(b, func() {
				families, err := r.sink.Registry().Gather()
				if err != nil {
					b.Fatal(err)
				}
				encoder := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain))
				for _, f := range families {
					if err := encoder.Encode(f); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.ReportMetric(float64(series), "series")
		})
	}
}

// BenchmarkAddrman measures a poll of a full address manager, which holds up the stream.
func BenchmarkAddrman(b *testing.B) {
	tables := &eventpb.Addrman{New: map[uint32]*eventpb.AddrmanBucket{}, Tried: map[uint32]*eventpb.AddrmanBucket{}}
	n := 0
	fill := func(buckets map[uint32]*eventpb.AddrmanBucket, count int) {
		for bucket := range count {
			entries := map[uint32]*eventpb.AddrmanEntry{}
			for position := range 64 {
				n++
				entries[uint32(position)] = &eventpb.AddrmanEntry{
					Address: proto.String(fmt.Sprintf("%d.%d.%d.%d", 1+n%200, n/200%256, n%251, n%13)), Port: proto.Uint32(8333), Network: proto.String("ipv4"),
					Services: proto.Uint64(1033), Time: proto.Int64(start.Add(-time.Duration(n) * time.Second).Unix()),
					Source: proto.String(fmt.Sprintf("%d.%d.8.8", 1+n%190, n%250)),
				}
			}
			buckets[uint32(bucket)] = &eventpb.AddrmanBucket{Entries: entries}
		}
	}
	fill(tables.GetNew(), 1024)
	fill(tables.GetTried(), 256)
	data, err := proto.Marshal(&eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{
		RpcEvent: &eventpb.RpcExtractor_Addrman{Addrman: tables}}}})
	if err != nil {
		b.Fatal(err)
	}
	sink, err := metrics.New(metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	loop(b, func() {
		sink.HandleEvent(&event.Event{Header: event.Header{Source: event.SourceRPC, ReceiveTime: start.UnixNano()}, Subject: event.SubjectRPC, Data: data})
	})
}
