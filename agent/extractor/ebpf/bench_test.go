package ebpf

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
	"github.com/peerobserver/peerobserver/proto/event"
)

// BenchmarkEvent measures the CPU time of an event from the record in the ring to the
// metrics and the embedded NATS server, which has no subscriber, by message, in turns
// with the usual way of doing it. Figures are medians over the turns; "low" and "high"
// are the quartiles of the ratio.
func BenchmarkEvent(b *testing.B) {
	samples := messageSamples(b)
	list := captured(b, samples)
	ours, usual := newPipeline(b, -1), newUsualWay(b)
	for i, s := range samples {
		b.Run(s.label, func(b *testing.B) {
			compare(b, ours, usual, []*bpf.Record{&list[i]}, len(s.payload))
		})
	}
}

// BenchmarkRelayMix is BenchmarkEvent for messages of all kinds, as a node may relay
// them.
func BenchmarkRelayMix(b *testing.B) {
	samples := messageSamples(b)
	list := captured(b, samples)
	var mix []*bpf.Record
	size := 0
	for i, s := range samples {
		for range s.weight {
			mix = append(mix, &list[i])
			size += len(s.payload)
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(mix), func(i, j int) { mix[i], mix[j] = mix[j], mix[i] })
	compare(b, newPipeline(b, -1), newUsualWay(b), mix, size/len(mix))
}

// maxBacklog is how much a benchmark leaves in the publisher's queue, which must not
// overflow: what is measured is what is sent.
const maxBacklog = 8 << 20

func compare(b *testing.B, p *pipeline, usual *usualWay, list []*bpf.Record, size int) {
	b.Helper()
	r := newTestRecorder(b, p.ledger, p.sinks...)
	encodeOnly := newTestRecorder(b, event.NewLedger())
	turn := max(2, min(4000, (4<<20)/(size+1)))
	next := 0
	batch := make([]*bpf.Record, turn)
	lost := p.lost()
	var ourTime, usualTime, encodeTime, ratios []float64
	for b.Loop() {
		for i := range batch {
			batch[i] = list[next%len(list)]
			next++
		}
		start := cpuTime(b)
		for i, record := range batch {
			if i%256 == 0 || size > 1<<16 {
				for p.queued() > maxBacklog {
					time.Sleep(time.Millisecond)
				}
			}
			r.handle(b.Context(), record)
		}
		p.settle()
		middle := cpuTime(b)
		for _, record := range batch {
			usual.handle(record)
		}
		if err := usual.conn.Flush(); err != nil {
			b.Fatal(err)
		}
		end := cpuTime(b)
		for _, record := range batch {
			encodeOnly.handle(b.Context(), record)
		}
		encoded := cpuTime(b)
		n := float64(turn)
		o, u := float64(middle-start)/n, float64(end-middle)/n
		ourTime, usualTime, ratios = append(ourTime, o), append(usualTime, u), append(ratios, u/o)
		encodeTime = append(encodeTime, float64(encoded-end)/n)
	}
	if n := p.lost() - lost; n != 0 {
		b.Errorf("%d lost", n)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(ourTime, 0.5), "cpu-ns/event")
	b.ReportMetric(quantile(encodeTime, 0.5), "without-sinks-ns")
	b.ReportMetric(quantile(usualTime, 0.5), "usual-cpu-ns")
	b.ReportMetric(quantile(ratios, 0.5), "ratio")
	b.ReportMetric(quantile(ratios, 0.25), "ratio-low")
	b.ReportMetric(quantile(ratios, 0.75), "ratio-high")
}

// BenchmarkSustained has one traced process fire small messages through the kernel, the
// extractor, the metrics and NATS, at a fixed rate and as fast as it can, and reports
// what arrived and what it cost. The traced process has one core and the agent the
// other, of which it uses no more.
func BenchmarkSustained(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Fatal("this benchmark needs two processors")
	}
	inv5 := "05"
	for range 5 {
		inv5 += "05000000" + fmt.Sprintf("%064x", 1)
	}
	for _, message := range []struct{ name, arguments string }{
		{"ping", "type=ping size=8"},
		{"inv5", "type=inv hex=" + inv5},
	} {
		for _, rate := range []int{1000, 100_000, 0} {
			name := message.name + "/" + strconv.Itoa(rate) + " per second"
			if rate == 0 {
				name = message.name + "/as fast as can be"
			}
			b.Run(name, func(b *testing.B) { sustained(b, message.arguments, rate) })
		}
	}
}

func sustained(b *testing.B, arguments string, rate int) {
	p, path := startEmitter(b)
	// Threads of the emitter inherit the processor of the one that starts them.
	pin(b, p.PID(), 0)
	pinSelf(b, 1)
	pipe := newPipeline(b, 0)
	m := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "bench", BootID: 1}, event.NewStream(pipe.sinks...), pipe.ledger)
	x := New(Config{Node: noNode, Binary: path, All: true}, m, pipe.ledger, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	if _, err := p.Do("wait net:inbound_message"); err != nil {
		b.Fatal(err)
	}
	account := func() (events, lost uint64) {
		for _, s := range pipe.ledger.Status().GetSources() {
			if s.GetSource() == event.SourceEBPF.String() {
				events = s.GetEvents()
			}
		}
		for _, s := range x.Status() {
			lost += s.GetLost()
		}
		return events, lost
	}
	hits := 3 * rate
	if rate == 0 {
		hits = 500_000
	}
	var arrived, offered, lost, agent, traced, resident []float64
	for b.Loop() {
		eventsBefore, lostBefore := account()
		queueBefore, start := pipe.lost(), cpuTime(b)
		r := offer(b, p, rate, hits, arguments)
		events, gone := uint64(0), uint64(0)
		for deadline := time.Now().Add(10 * time.Second); events+gone < r.Fired && time.Now().Before(deadline); {
			time.Sleep(25 * time.Millisecond)
			e, l := account()
			events, gone = e-eventsBefore, l-lostBefore
		}
		used := cpuTime(b) - start
		pipe.settle()
		if rate == 0 {
			// What is still on its way to NATS belongs to it; at a fixed rate that is
			// next to nothing, and waiting would cost more.
			used = cpuTime(b) - start
		}
		if events+gone != r.Fired {
			b.Errorf("%d fired, %d events, %d lost in the kernel", r.Fired, events, gone)
		}
		// Behind the stream: in front of NATS.
		behind := pipe.lost() - queueBefore
		offered = append(offered, float64(r.Fired)/r.Wall.Seconds())
		arrived = append(arrived, float64(events-behind)/r.Wall.Seconds())
		lost = append(lost, 100*float64(gone+behind)/float64(r.Fired))
		agent = append(agent, float64(used)/float64(max(events, 1)))
		traced = append(traced, float64(r.CPU)/float64(r.Fired))
		resident = append(resident, float64(residentBytes(b))/(1<<20))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(offered, 0.5), "offered/s")
	b.ReportMetric(quantile(arrived, 0.5), "events/s")
	b.ReportMetric(quantile(lost, 1), "worst-lost-%")
	b.ReportMetric(quantile(agent, 0.5), "agent-cpu-ns/event")
	b.ReportMetric(quantile(traced, 0.5), "traced-cpu-ns/hit")
	b.ReportMetric(quantile(resident, 1), "resident-MiB")
}

// offer fires hits as fast as can be, or at a rate: above slowRate a second in bursts
// every 10 ms, as a pause after each would cost the traced process more than the hit.
func offer(b *testing.B, p *emitter.Process, rate, hits int, arguments string) emitter.Result {
	b.Helper()
	if rate == 0 {
		return fire(b, p, "net:inbound_message count=%d %s", hits, arguments)
	}
	if rate <= slowRate {
		return fire(b, p, "net:inbound_message count=%d rate=%d %s", hits, rate, arguments)
	}
	const burst = 10 * time.Millisecond
	each := rate / int(time.Second/burst)
	var sum emitter.Result
	start := time.Now()
	for i := 0; i*each < hits; i++ {
		time.Sleep(time.Until(start.Add(time.Duration(i) * burst)))
		r := fire(b, p, "net:inbound_message count=%d %s", each, arguments)
		sum.Fired += r.Fired
		sum.CPU += r.CPU
	}
	sum.Wall = time.Since(start)
	return sum
}

const slowRate = 5000

// pin binds a thread, and those that it starts, to a processor.
func pin(b *testing.B, thread, processor int) {
	b.Helper()
	var set unix.CPUSet
	set.Set(processor)
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		b.Fatal(err)
	}
}

// pinSelf binds all of this process to one processor until the benchmark ends.
func pinSelf(b *testing.B, processor int) {
	b.Helper()
	threads := func() (list []int) {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			if n, err := strconv.Atoi(e.Name()); err == nil {
				list = append(list, n)
			}
		}
		return list
	}
	for _, thread := range threads() {
		pin(b, thread, processor)
	}
	before := runtime.GOMAXPROCS(1)
	b.Cleanup(func() {
		runtime.GOMAXPROCS(before)
		var all unix.CPUSet
		for i := range runtime.NumCPU() {
			all.Set(i)
		}
		for _, thread := range threads() {
			// A thread may have ended since.
			_ = unix.SchedSetaffinity(thread, &all)
		}
	})
}
