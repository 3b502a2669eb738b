package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/peerobserver/peerobserver/bpf/emitter"
	"github.com/peerobserver/peerobserver/bpf/internal/baseline"
)

// design is one way of tracing, attached to an emitter of its own, so that all
// can be measured in turns.
type design struct {
	name    string
	emitter *emitter.Process
	// records returns how many records were read so far.
	records func() uint64
}

// newDesign starts an emitter from a file of its own.
func newDesign(b *testing.B, name string, attach func(b *testing.B, exe *Executable) func() uint64) *design {
	b.Helper()
	path, err := emitter.Build(b.Context(), b.TempDir(), emitter.Dynamic)
	if err != nil {
		b.Fatal(err)
	}
	exe, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { exe.Close() })
	d := &design{name: name, records: attach(b, exe)}
	if d.emitter, err = emitter.Start(path); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.emitter.Close() })
	return d
}

func unattached(*testing.B, *Executable) func() uint64 { return func() uint64 { return 0 } }

// loadBaseline attaches a program of package baseline to the message sites.
func loadBaseline(b *testing.B, exe *Executable, program string, rings ...string) map[string]*ebpf.Map {
	b.Helper()
	spec, err := baseline.LoadObject()
	if err != nil {
		b.Fatal(err)
	}
	for name := range spec.Programs {
		if name != program {
			delete(spec.Programs, name)
		}
	}
	for name, m := range spec.Maps {
		if len(rings) == 0 || m.Type == ebpf.RingBuf && !slices.Contains(rings, name) {
			delete(spec.Maps, name)
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(coll.Close)
	probe := exe.Probes()[NetInboundMessage]
	o := link.UprobeMultiOptions{}
	for i, s := range probe.Sites {
		o.Addresses = append(o.Addresses, s.Offset)
		o.RefCtrOffsets = append(o.RefCtrOffsets, s.SemaphoreOffset)
		o.Cookies = append(o.Cookies, uint64(i))
		if m := coll.Maps["sites"]; m != nil {
			if err := m.Put(uint32(i), lowerSite(probe.Tracepoint, s)); err != nil {
				b.Fatal(err)
			}
		}
	}
	x, err := link.OpenExecutable(exe.Path)
	if err != nil {
		b.Fatal(err)
	}
	l, err := x.UprobeMulti(nil, coll.Programs[program], &o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return coll.Maps
}

// empty attaches a program that does nothing.
func empty(program string) func(b *testing.B, exe *Executable) func() uint64 {
	return func(b *testing.B, exe *Executable) func() uint64 {
		loadBaseline(b, exe, program)
		return func() uint64 { return 0 }
	}
}

// least does what no way of getting small messages out can do without.
func least(b *testing.B, exe *Executable) func() uint64 {
	r, err := ringbuf.NewReader(loadBaseline(b, exe, "least", "single")["single"])
	if err != nil {
		b.Fatal(err)
	}
	var n atomic.Uint64
	var wg sync.WaitGroup
	wg.Go(func() {
		var rec ringbuf.Record
		for {
			r.SetDeadline(time.Now().Add(20 * time.Millisecond))
			switch err := r.ReadInto(&rec); {
			case err == nil:
				n.Add(1)
			case !errors.Is(err, os.ErrDeadlineExceeded):
				return
			}
		}
	})
	b.Cleanup(func() { r.Close(); wg.Wait() })
	return n.Load
}

// classes is the layout of the existing peer-observer (Rust).
func classes(b *testing.B, exe *Executable) func() uint64 {
	rings := []string{"small", "medium", "large", "huge"}
	maps := loadBaseline(b, exe, "classes", rings...)
	var mu sync.Mutex
	n := uint64(0)
	for _, name := range rings {
		r, err := ringbuf.NewReader(maps[name])
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			var rec ringbuf.Record
			for r.ReadInto(&rec) == nil {
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
		b.Cleanup(func() { r.Close(); wg.Wait() })
	}
	return func() uint64 { mu.Lock(); defer mu.Unlock(); return n }
}

// ours attaches the real program to all tracepoints.
func ours(cfg Config) func(b *testing.B, exe *Executable) func() uint64 {
	return func(b *testing.B, exe *Executable) func() uint64 {
		prog, err := Load(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := prog.Attach(exe, Options{}); err != nil {
			b.Fatal(err)
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		n, bytes := uint64(0), 0
		wg.Go(func() {
			var rec Record
			for {
				if err := prog.Reader().Read(&rec); err != nil {
					return
				}
				mu.Lock()
				n++
				bytes += len(rec.Payload())
				mu.Unlock()
			}
		})
		b.Cleanup(func() { prog.Reader().Close(); wg.Wait(); prog.Close() })
		return func() uint64 { mu.Lock(); defer mu.Unlock(); return n }
	}
}

// cpuTime is this process's: that of the readers.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type sample struct {
	hit, reader, lost float64
	wall              time.Duration
}

// measure fires hits and returns the traced thread's CPU time a hit, the reader's
// CPU time a record, and the share of hits without a record.
func (d *design) measure(b *testing.B, hits int, size int) sample {
	b.Helper()
	before, cpu := d.records(), cpuTime(b)
	res, err := d.emitter.Fire("net:inbound_message count=%d size=%d type=tx", hits, size)
	if err != nil {
		b.Fatal(err)
	}
	// The reader may sleep up to its idle time before the last ones.
	got, deadline := uint64(0), time.Now().Add(300*time.Millisecond)
	for time.Now().Before(deadline) {
		if got = d.records() - before; got >= uint64(hits) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s := sample{hit: float64(res.CPU.Nanoseconds()) / float64(hits), wall: res.Wall}
	if got > 0 {
		s.reader = float64((cpuTime(b) - cpu).Nanoseconds()) / float64(got)
		s.lost = 100 * (1 - float64(got)/float64(hits))
	}
	return s
}

func median(s []float64) float64 { return quantile(s, 0.5) }

func quantile(s []float64, q float64) float64 {
	s = slices.Sorted(slices.Values(s))
	return s[int(q*float64(len(s)-1)+0.5)]
}

// BenchmarkHit measures what a hit of net:inbound_message costs the traced
// thread, in turns for a site that nobody traces, an empty program, one that does the
// least that is possible (up to leastMax bytes), the layout of the existing tool, and
// this one. Figures are medians over the rounds; ratios are taken in each round, and
// "low" and "high" are their quartiles.
func BenchmarkHit(b *testing.B) {
	small := []*design{
		newDesign(b, "unattached", unattached),
		newDesign(b, "empty", empty("nothing")),
		newDesign(b, "empty-sleepable", empty("nothing_sleepable")),
		newDesign(b, "classes", classes),
		newDesign(b, "ours", ours(Config{})),
		newDesign(b, "least", least),
	}
	large := small[:len(small)-1]
	for _, size := range []int{32, 256, 300, 1024, 4096, 65536, 1 << 20, 4_000_000} {
		designs := large
		if size <= leastMax {
			designs = small
		}
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			hits := max(20, min(20_000, (24<<20)/(size+1)))
			all := map[string][]sample{}
			for b.Loop() {
				for _, d := range designs {
					all[d.name] = append(all[d.name], d.measure(b, hits, size))
				}
			}
			values := func(name string, f func(sample) float64) (list []float64) {
				for _, s := range all[name] {
					list = append(list, f(s))
				}
				return list
			}
			hit := func(s sample) float64 { return s.hit }
			for _, d := range designs {
				b.ReportMetric(median(values(d.name, hit)), d.name+"-ns/hit")
			}
			for _, name := range []string{"classes", "ours"} {
				b.ReportMetric(median(values(name, func(s sample) float64 { return s.reader })), name+"-reader-ns/record")
				b.ReportMetric(median(values(name, func(s sample) float64 { return s.lost })), name+"-lost-%")
			}
			ratio := func(unit, over, under string) {
				list := values(over, hit)
				for i, v := range values(under, hit) {
					list[i] /= v
				}
				b.ReportMetric(median(list), unit)
				b.ReportMetric(quantile(list, 0.25), unit+"-low")
				b.ReportMetric(quantile(list, 0.75), unit+"-high")
			}
			ratio("ours/empty", "ours", "empty")
			ratio("ours/classes", "ours", "classes")
			if size <= leastMax {
				ratio("least/empty", "least", "empty")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// leastMax is the largest payload of the program least (LEAST in baseline.c), in bytes.
const leastMax = 256

// BenchmarkSustained has one thread fire small messages as fast as it can, and reports records a second and what was lost.
func BenchmarkSustained(b *testing.B) {
	for _, c := range []struct {
		name string
		f    func(*testing.B, *Executable) func() uint64
	}{{"classes", classes}, {"ours", ours(Config{})}} {
		b.Run(c.name, func(b *testing.B) {
			d := newDesign(b, c.name, c.f)
			var rate, lost, reader []float64
			for b.Loop() {
				const hits = 300_000
				s := d.measure(b, hits, 300)
				rate = append(rate, hits*(1-s.lost/100)/s.wall.Seconds())
				lost, reader = append(lost, s.lost), append(reader, s.reader)
			}
			b.ReportMetric(median(rate), "records/s")
			b.ReportMetric(quantile(rate, 0.25), "records/s-low")
			b.ReportMetric(quantile(rate, 0.75), "records/s-high")
			b.ReportMetric(median(lost), "lost-%")
			b.ReportMetric(median(reader), "reader-ns/record")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPaced offers messages of 300 bytes at the rates of a quiet node, a
// busy one, and an attack, and reports the reader's share of one CPU.
func BenchmarkPaced(b *testing.B) {
	for _, rate := range []int{0, 20, 500, 5000} {
		for _, c := range []struct {
			name string
			f    func(*testing.B, *Executable) func() uint64
		}{{"classes", classes}, {"ours", ours(Config{})}} {
			b.Run(fmt.Sprintf("%d per second/%s", rate, c.name), func(b *testing.B) {
				d := newDesign(b, c.name, c.f)
				var share, hit []float64
				for b.Loop() {
					cpu, start := cpuTime(b), time.Now()
					if rate == 0 {
						time.Sleep(2 * time.Second)
					} else {
						res, err := d.emitter.Fire("net:inbound_message count=%d rate=%d size=300", rate*2, rate)
						if err != nil {
							b.Fatal(err)
						}
						hit = append(hit, float64(res.CPU.Nanoseconds())/float64(res.Fired))
					}
					share = append(share, 100*float64(cpuTime(b)-cpu)/float64(time.Since(start)))
				}
				b.ReportMetric(median(share), "reader-%CPU")
				if hit != nil {
					b.ReportMetric(median(hit), "thread-ns/hit")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkMemory reports what a loaded program costs: kernel memory of its maps,
// and this process's growth in resident memory, which counts the ring once more.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		runtime.GC()
		before := resident(b)
		prog, err := Load(Config{})
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		var kernel uint64
		for _, m := range []*ebpf.Map{prog.objects.Ring, prog.objects.Sites, prog.objects.Counts, prog.objects.Scratch,
			prog.objects.Rules, prog.objects.Processes} {
			n, err := mapMemory(m)
			if err != nil {
				b.Fatal(err)
			}
			kernel += n
		}
		b.ReportMetric(float64(kernel)/(1<<20), "kernel-MiB")
		b.ReportMetric(float64(resident(b)-before)/(1<<20), "resident-MiB")
		if err := prog.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func mapMemory(m *ebpf.Map) (uint64, error) {
	info, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", fmt.Sprint(m.FD())))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		var n uint64
		if _, err := fmt.Sscanf(line, "memlock: %d", &n); err == nil {
			return n, nil
		}
	}
	return 0, errors.New("the kernel does not say how large a map is")
}

func resident(b *testing.B) int64 {
	b.Helper()
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var total, pages int64
	if _, err := fmt.Sscan(string(s), &total, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
