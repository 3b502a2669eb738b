package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/field"
)

// recording is what a real agent beside a real node published, and its pages of metrics.
type recording struct {
	messages []*nats.Msg
	bytes    int
	pages    []string
}

const (
	recordedEvents = 1500 // at least
	recordedPages  = 10
)

// recordAgent lets an agent observe a busy node and records it.
func recordAgent(t *testing.B) recording {
	t.Helper()
	b := startBus(t, "alice")
	nodes := regtest.NetworkForTest(t, 2, regtest.Config{V2: true})
	address := freeAddress(t)
	messages := make(chan *nats.Msg, 1<<16)
	conn := b.atLeaf("alice", "", "")
	for _, subject := range event.Subjects() {
		if _, err := conn.ChanSubscribe(subject, messages); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	agent := b.startAgent("alice", nodes[0], address, nil)
	eventually(t, "the agent", func() error { _, err := get("http://" + address + "/-/ready"); return err })
	var r recording
	for len(r.pages) < recordedPages || len(messages) < recordedEvents {
		if _, err := nodes[1].SendTransactions(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[1].Mine(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := regtest.SyncBlocks(t.Context(), nodes...); err != nil {
			t.Fatal(err)
		}
		page, err := get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		r.pages = append(r.pages, page)
	}
	agent.stop()
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for range len(messages) {
		m := <-messages
		r.messages = append(r.messages, m)
		r.bytes += len(m.Data)
	}
	return r
}

// replay publishes the recording as another run of an agent: the last value of a field
// counts, so that a boot id after the recorded one makes the numbers new. A rate is in events
// a second; 0 is as fast as can be.
func (r *recording) replay(conn *nats.Conn, bootID uint64, rate int) error {
	addition := protowire.AppendVarint(protowire.AppendTag(nil, field.EventBootId, protowire.VarintType), bootID)
	var tick <-chan time.Time
	if rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		tick = ticker.C
	}
	var data []byte
	for _, m := range r.messages {
		if tick != nil {
			<-tick
		}
		data = append(append(data[:0], m.Data...), addition...)
		if err := conn.Publish(m.Subject, data); err != nil {
			return err
		}
	}
	return conn.FlushTimeout(time.Minute)
}

// use is what a process has used: CPU time (user and system) and resident memory.
type use struct {
	cpu      time.Duration
	resident float64 // MiB
}

func (p *program) use(t testing.TB) use { return processUse(t, p.cmd.Process.Pid) }

func processUse(t testing.TB, pid int) use {
	t.Helper()
	stat := read(t, fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	var ticks, pages int
	for _, text := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	pages, err := strconv.Atoi(fields[21]) // rss
	if err != nil {
		t.Fatal(err)
	}
	const hertz = 100 // of /proc on Linux
	return use{time.Duration(ticks) * time.Second / hertz, float64(pages*os.Getpagesize()) / (1 << 20)}
}

// BenchmarkScale measures what a node and an event cost at the hub, and what a node costs at
// Prometheus, with the configuration that ships: docs/scale.md.
func BenchmarkScale(b *testing.B) {
	r := recordAgent(b)
	b.Logf("recorded: %d events of %d bytes on average; %d series", len(r.messages), r.bytes/len(r.messages), series(r.pages[len(r.pages)-1]))
	for _, c := range []struct{ nodes, rate int }{{1, 0}, {10, 0}, {10, 200}} {
		for _, history := range []bool{false, true} {
			b.Run(fmt.Sprintf("events/nodes=%d/rate=%d/history=%v", c.nodes, c.rate, history), func(b *testing.B) {
				benchmarkEvents(b, &r, c.nodes, c.rate, history)
			})
		}
	}
	for _, nodes := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("connections/nodes=%d", nodes), func(b *testing.B) { benchmarkConnections(b, nodes) })
	}
	for _, nodes := range []int{10, 100} {
		b.Run(fmt.Sprintf("prometheus/nodes=%d", nodes), func(b *testing.B) { benchmarkPrometheus(b, &r, nodes) })
	}
}

// benchmarkEvents replays the recording, from all nodes at a time, to one reader.
func benchmarkEvents(b *testing.B, r *recording, nodes, rate int, history bool) {
	events := 50_000 // in all, at least
	if rate > 0 {
		events = 0 // once
	}
	var names []string
	for i := range nodes {
		names = append(names, fmt.Sprintf("node%d", i))
	}
	f := startBus(b, names...)
	if history {
		f.makeStreams()
	}
	var live, kept atomic.Uint64
	reader := f.atHub("reader", readerPassword)
	for prefix, counter := range map[string]*atomic.Uint64{"*.": &live, "kept.*.": &kept} {
		for _, subject := range event.Subjects() {
			subscription, err := reader.Subscribe(prefix+subject, func(*nats.Msg) { counter.Add(1) })
			if err != nil {
				b.Fatal(err)
			}
			if err := subscription.SetPendingLimits(-1, -1); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := reader.Flush(); err != nil {
		b.Fatal(err)
	}
	conns := make([]*nats.Conn, nodes)
	for i, name := range names {
		conns[i] = f.atLeaf(name, "agent", agentPassword)
		eventually(b, "the hub's interest", func() error {
			text, err := get("http://" + f.leafMonitor[name] + "/leafz?subs=1")
			if err == nil && !strings.Contains(text, `"netmsg"`) {
				err = fmt.Errorf("%s doesn't know of it", name)
			}
			return err
		})
	}
	passes := events/(nodes*len(r.messages)) + 1
	var sent uint64
	hub, began := f.hub.use(b), time.Now()
	b.ResetTimer()
	for n := range b.N * passes {
		failed := make(chan error, nodes)
		for _, conn := range conns {
			go func() { failed <- r.replay(conn, uint64(n+1), rate) }()
		}
		for range conns {
			if err := <-failed; err != nil {
				b.Fatal(err)
			}
		}
		sent += uint64(nodes * len(r.messages))
		// No faster than the reader takes it: what is measured is work, not a queue.
		eventually(b, "the reader", func() error {
			if got := live.Load(); got < sent {
				return fmt.Errorf("%d of %d events live", got, sent)
			}
			if got := kept.Load(); history && got < sent {
				return fmt.Errorf("%d of %d events kept", got, sent)
			}
			return nil
		})
	}
	b.StopTimer()
	used := f.hub.use(b)
	b.ReportMetric(float64((used.cpu-hub.cpu).Nanoseconds())/float64(sent), "hub-ns/event")
	b.ReportMetric(used.resident, "hub-MiB")
	b.ReportMetric(float64(sent)/time.Since(began).Seconds(), "events/s")
	if history {
		b.ReportMetric(float64(size(b, filepath.Join(f.dir, "hub", "store")))/float64(sent), "stored-B/event")
	}
}

// size is the number of bytes in a directory.
func size(t testing.TB, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// benchmarkConnections has many leafs at the hub that send nothing. They are remotes of one
// server, each with its own certificate and account.
func benchmarkConnections(b *testing.B, nodes int) {
	f := startBus(b, "alice")
	before := f.hub.use(b)
	names := []string{}
	for i := range nodes {
		names = append(names, fmt.Sprintf("node%d", i))
	}
	hub := filepath.Join(f.dir, "hub")
	if text, err := run(b, ".", "./hosts.sh", append([]string{hub, "alice"}, names...)...); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	f.hub.stop()
	authority, err := tls.LoadX509KeyPair(f.authority(), strings.TrimSuffix(f.authority(), ".crt")+".key")
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(f.dir, "many")
	var accounts, remotes strings.Builder
	for i, name := range names {
		issue(b, &authority, name, int64(i+1), filepath.Join(dir, name))
		fmt.Fprintf(&accounts, "  %s {}\n", name)
		fmt.Fprintf(&remotes, "  {url: %q, account: %s, tls {cert_file: %q, key_file: %q, ca_file: %q, timeout: 20}}\n",
			"tls://"+f.hubLeafs, name, filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"), f.authority())
	}
	write(b, filepath.Join(dir, "many.conf"), fmt.Sprintf("server_name: many\nlisten: %q\naccounts {\n%s}\nleafnodes {\n  reconnect: 2s\n  remotes: [\n%s  ]\n}\n", freeAddress(b), accounts.String(), remotes.String()))
	built, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	f.startHub()
	start(b, dir, built.nats, "--config=many.conf")
	reader := f.atHub("reader", readerPassword)
	for _, subject := range event.Subjects() {
		if _, err := reader.Subscribe("*."+subject, func(*nats.Msg) {}); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "all connections", func() error {
		text, err := get("http://" + f.hubMonitor + "/varz")
		if err != nil {
			return err
		}
		var answer struct {
			Leafnodes int `json:"leafnodes"`
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			return err
		}
		if answer.Leafnodes < nodes+1 {
			return fmt.Errorf("%d of %d leafs", answer.Leafnodes, nodes+1)
		}
		return nil
	})
	connected := time.Since(began)
	const idle = 10 * time.Second
	from := f.hub.use(b)
	<-time.After(idle)
	to := f.hub.use(b)
	b.ReportMetric(connected.Seconds(), "connected-s")
	b.ReportMetric(from.cpu.Seconds(), "connected-cpu-s")
	b.ReportMetric(to.resident-before.resident, "hub-MiB-more")
	b.ReportMetric((to.cpu-from.cpu).Seconds()/idle.Seconds()*1000, "idle-ms/s")
}

// issue makes the certificate of a host, as certificates.sh does.
func issue(t testing.TB, authority *tls.Certificate, name string, serial int64, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, key.Public(), authority.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	write(t, path+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

// series counts the samples of a page of metrics.
func series(page string) (n int) {
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			n++
		}
	}
	return n
}

// benchmarkPrometheus lets a Prometheus scrape the recorded pages from many nodes, and
// evaluate all rules over them, three times as often as in life.
func benchmarkPrometheus(b *testing.B, r *recording, nodes int) {
	const cycles = 8
	var scrapes atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(scrapes.Add(1))
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte(r.pages[n/nodes%len(r.pages)]))
	}))
	b.Cleanup(target.Close)
	dir := b.TempDir()
	files, err := filepath.Glob("../../alerts/*.rules.yml")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range append(files, "fleet.rules.yml") {
		write(b, filepath.Join(dir, "rules", filepath.Base(file)), read(b, file))
	}
	const interval = 5 * time.Second
	config := strings.NewReplacer("interval: 15s", "interval: 5s", "timeout: 10s", "timeout: 5s").Replace(read(b, "prometheus.yml"))
	write(b, filepath.Join(dir, "prometheus.yml"), config)
	var targets strings.Builder
	for i := range nodes {
		fmt.Fprintf(&targets, "- targets: [%q]\n  labels: {node: node%d, instance: 'node%d:9789', __metrics_path__: /node%d}\n", strings.TrimPrefix(target.URL, "http://"), i, i, i)
	}
	write(b, filepath.Join(dir, "targets", "nodes.yml"), targets.String())
	p := servers.StartPrometheus(b, servers.PrometheusConfig{
		Binaries: servers.ForTest(b, servers.Newest), ConfigFile: filepath.Join(dir, "prometheus.yml"),
	})
	value := func(expression string) float64 {
		b.Helper()
		v, err := p.Value(b.Context(), expression)
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
	// own reads one of the metrics that Prometheus has of itself.
	own := func(name string) float64 {
		b.Helper()
		v, err := sample(p.URL(), name)
		if err != nil || v == 0 {
			b.Fatalf("%s: %v, %v", name, v, err)
		}
		return v
	}
	wait := func(n int64) {
		b.Helper()
		eventually(b, "scrapes", func() error {
			if got := scrapes.Load(); got < n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	wait(int64(3 * nodes)) // the first cycles make the series
	const walSize, appended = "prometheus_tsdb_wal_storage_size_bytes", "prometheus_tsdb_head_samples_appended_total"
	from, first, wal, samples, began := processUse(b, p.PID()), scrapes.Load(), own(walSize), own(appended), time.Now()
	b.ResetTimer()
	wait(first + int64(cycles*nodes))
	b.StopTimer()
	to, done, took := processUse(b, p.PID()), scrapes.Load()-first, time.Since(began)
	wal, samples = own(walSize)-wal, own(appended)-samples
	b.ReportMetric(own("prometheus_tsdb_head_series")/float64(nodes), "series/node")
	b.ReportMetric(to.resident, "MiB")
	b.ReportMetric((to.cpu-from.cpu).Seconds()*1000/float64(done), "cpu-ms/scrape")
	b.ReportMetric(wal/samples, "wal-B/sample")
	b.ReportMetric(samples/float64(done), "samples/node")
	b.ReportMetric(value(`sum(scrape_samples_scraped{job="peer-observer"})`)/float64(nodes), "samples/scrape")
	b.ReportMetric(value(`avg(scrape_duration_seconds{job="peer-observer"})`)*1000, "scrape-ms")
	b.ReportMetric(float64(done)*interval.Seconds()/float64(nodes)/took.Seconds(), "kept-up")
}
