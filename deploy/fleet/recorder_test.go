package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/lab/gotool"
	"github.com/peerobserver/peerobserver/proto/event"
)

// producer is one source of one run of one agent; its events are numbered from 1.
type producer struct {
	node   string
	bootID uint64
	source event.Source
}

// recorder is a client that notes the numbers of the events it gets, in their order.
type recorder struct {
	mutex   sync.Mutex
	numbers map[producer][]uint64
	faults  []string
}

// record subscribes to all subjects of events below a prefix. With the node's name as a
// token of the prefix (named), an event must carry that name.
func record(t testing.TB, conn *nats.Conn, prefix string, named bool) *recorder {
	t.Helper()
	r := &recorder{numbers: map[producer][]uint64{}}
	// One channel for all, which keeps the order among the subjects.
	messages := make(chan *nats.Msg, 1<<16)
	subjects := map[*nats.Subscription]string{}
	for _, subject := range event.Subjects() {
		subscription, err := conn.ChanSubscribe(prefix+subject, messages)
		if err != nil {
			t.Fatal(err)
		}
		subjects[subscription] = subject
	}
	go func() {
		for {
			select {
			case m := <-messages:
				r.take(m, subjects[m.Sub], named)
			case <-t.Context().Done():
				return
			}
		}
	}()
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *recorder) take(m *nats.Msg, subject string, named bool) {
	header, err := event.Parse(m.Data)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch {
	case err != nil:
		r.faults = append(r.faults, fmt.Sprintf("%s: %v", m.Subject, err))
		return
	case event.KindOf(m.Data).Subject() != subject:
		r.faults = append(r.faults, fmt.Sprintf("%s has an event of %s", m.Subject, event.KindOf(m.Data).Subject()))
	case named && !strings.HasSuffix(m.Subject, header.NodeName+"."+subject):
		r.faults = append(r.faults, fmt.Sprintf("%s has an event of node %s", m.Subject, header.NodeName))
	}
	p := producer{header.NodeName, header.BootID, header.Source}
	r.numbers[p] = append(r.numbers[p], header.Sequence)
}

// all is a copy of what was recorded.
func (r *recorder) all() map[producer][]uint64 {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	numbers := maps.Clone(r.numbers)
	for p := range numbers {
		numbers[p] = slices.Clone(numbers[p])
	}
	return numbers
}

// count is the number of events of a node, or of all for "".
func (r *recorder) count(node string) int {
	return count(r.all(), node)
}

func count(numbers map[producer][]uint64, node string) int {
	n := 0
	for p, list := range numbers {
		if node == "" || p.node == node {
			n += len(list)
		}
	}
	return n
}

// check reports what was wrong with single messages.
func (r *recorder) check(t testing.TB, name string) {
	t.Helper()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.faults) > 0 {
		t.Errorf("%s: %d faults, such as %s", name, len(r.faults), r.faults[0])
	}
}

// reaches says whether everything in numbers has come, by the last of each source.
func (r *recorder) reaches(numbers map[producer][]uint64) error {
	mine := r.all()
	for p, list := range numbers {
		if got := mine[p]; len(got) == 0 || got[len(got)-1] < list[len(list)-1] {
			return fmt.Errorf("%s, %s: %d of %d events", p.node, p.source, len(got), len(list))
		}
	}
	return nil
}

// missing are the numbers that are in whole and not in part, which must be in order and
// may have nothing twice.
func missing(t testing.TB, whole, part map[producer][]uint64) map[producer][]uint64 {
	t.Helper()
	lacks := map[producer][]uint64{}
	for p, list := range part {
		for i := 1; i < len(list); i++ {
			if list[i] <= list[i-1] {
				t.Errorf("%s, %s: number %d comes after %d", p.node, p.source, list[i], list[i-1])
				break
			}
		}
		if len(whole[p]) == 0 {
			t.Errorf("%s, %s: %d events that nobody sent", p.node, p.source, len(list))
		}
	}
	for p, list := range whole {
		for _, n := range list {
			if _, found := slices.BinarySearch(part[p], n); !found {
				lacks[p] = append(lacks[p], n)
			}
		}
	}
	return lacks
}

// atLeaf connects to the server beside a node as somebody on that host.
func (b *bus) atLeaf(node, user, password string) *nats.Conn {
	b.t.Helper()
	options := b.options()
	if user != "" {
		options = append(options, nats.UserInfo(user, password))
	}
	return b.connect("nats://"+b.leafClients[node], options)
}

// atHub connects to the hub.
func (b *bus) atHub(user, password string, more ...nats.Option) *nats.Conn {
	b.t.Helper()
	options := append(b.options(), nats.UserInfo(user, password), nats.Secure(b.tls()))
	return b.connect("tls://"+b.hubClients, append(options, more...))
}

func (b *bus) tls() *tls.Config {
	b.t.Helper()
	pem, err := os.ReadFile(b.authority())
	if err != nil {
		b.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		b.t.Fatal("no certificate of the authority")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func (b *bus) options() []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(10 * time.Second),
	}
}

func (b *bus) connect(url string, options []nats.Option) *nats.Conn {
	b.t.Helper()
	conn, err := nats.Connect(url, options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// makeStreams makes the streams of those who keep a history, from the files of hosts.sh.
func (b *bus) makeStreams() {
	b.t.Helper()
	for _, node := range b.nodes {
		b.atHost(node, "stream add --config history-"+node+".json")
	}
	b.atTheHub("stream add --config history.json")
}

// atHost runs a command of docs/fleet.md on the host of a node, as its operator.
func (b *bus) atHost(node, command string) {
	b.t.Helper()
	b.operate("--server nats://"+b.leafClients[node], command)
}

// atTheHub runs a command of docs/fleet.md on the hub, as its operator.
func (b *bus) atTheHub(command string) {
	b.t.Helper()
	b.operate("--server tls://"+b.hubClients+" --tlsca "+b.authority(), command)
}

// operate runs the command nats, which is NATS's own.
func (b *bus) operate(server, command string) {
	b.t.Helper()
	program := gotool.ForTest(b.t, gotool.Program{Name: "nats", Package: "github.com/nats-io/natscli/nats", Version: "v0.5.1"})
	line := server + " --user operator --password " + operatorPassword + " " + command
	cmd := exec.CommandContext(b.t.Context(), program, strings.Fields(line)...)
	cmd.Dir = filepath.Join(b.dir, "hub")
	cmd.Env = append(os.Environ(), "HOME="+b.dir, "XDG_CONFIG_HOME=") // of somebody who has no settings
	if output, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("nats %s: %v\n%s", line, err, output)
	}
}
