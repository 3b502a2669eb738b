package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// Three agents beside three nodes, each with a NATS server that is a leaf of a hub; one
// Prometheus over all. The hub is away for a while, and then everybody has what was promised:
// a tool on a host all events, as if nothing had been; a reader at the hub the exact number
// of those it missed; a reader of the history all of them, late. The agents push their
// metrics to another Prometheus over OTLP, which has what the first one scrapes; an alert
// about one node names it in both.
func TestHubOutage(t *testing.T) {
	t.Parallel()
	names := []string{"alice", "bob", "carol"}
	b := startBus(t, names...)
	b.makeStreams()
	nodes := regtest.NetworkForTest(t, len(names), regtest.Config{V2: true})

	// Tools on the hosts know plain subjects and don't log in. At the hub the node's name
	// comes first.
	local := map[string]*recorder{}
	for _, name := range names {
		local[name] = record(t, b.atLeaf(name, "", ""), "", false)
	}
	reader := b.atHub("reader", readerPassword)
	live, kept := record(t, reader, "*.", true), record(t, reader, "kept.*.", true)
	liveReader, keptReader := b.startReader("*."), b.startReader("kept.*.")
	for _, url := range []string{liveReader, keptReader} {
		eventually(t, "the reader at the hub", func() error { _, err := get(url + "/-/ready"); return err })
	}

	alertmanager := servers.StartAlertmanager(t, servers.ForTest(t, servers.Newest), "../alertmanager.yml")
	pushed := b.startPushed(alertmanager)
	agents, addresses := map[string]*program{}, map[string]string{}
	for i, name := range names {
		addresses[name] = freeAddress(t)
		// The agent asks for the list of bans every two minutes otherwise.
		agents[name] = b.startAgent(name, nodes[i], addresses[name], pushEnvironment(t, pushed), "--extractor.rpc.interval.listbanned=1s")
	}
	for _, name := range names {
		eventually(t, "the agent "+name, func() error { _, err := get("http://" + addresses[name] + "/-/ready"); return err })
	}
	prometheus := b.startPrometheus(addresses, liveReader, alertmanager)

	// whole is what the tools on the hosts have.
	whole := func() map[producer][]uint64 {
		all := map[producer][]uint64{}
		for _, r := range local {
			maps.Copy(all, r.all())
		}
		return all
	}
	// traffic lets things happen until every agent has told of that many more events.
	traffic := func(ctx context.Context, events int) {
		t.Helper()
		before := whole()
		eventually(t, "traffic", func() error {
			if _, err := nodes[0].Mine(ctx, 1); err != nil {
				return err
			}
			if err := regtest.SyncBlocks(ctx, nodes...); err != nil {
				return err
			}
			for _, name := range names {
				if n := local[name].count(name) - count(before, name); n < events {
					return fmt.Errorf("%d events of %s", n, name)
				}
			}
			return nil
		})
	}

	traffic(t.Context(), 100)
	sent := whole()
	for name, r := range map[string]*recorder{"live": live, "kept": kept} {
		eventually(t, name+" events before the outage", func() error { return r.reaches(sent) })
	}
	if n := live.count(""); n < count(sent, "") {
		t.Errorf("the hub has %d of %d events before the outage", n, count(sent, ""))
	}

	if code := b.hub.stop(); code != 0 && code != 1 {
		t.Errorf("the hub ends with %d", code)
	}
	atStop, stopped := live.all(), time.Now()
	for ends := time.Now().Add(outage(t)); ; {
		traffic(t.Context(), 100)
		if !time.Now().Before(ends) {
			break
		}
	}
	newerThan(t, pushed, stopped, len(names))
	b.startHub()
	b.waitConnected()
	traffic(t.Context(), 20)
	agreement := compare(t, prometheus, pushed, names)
	ban(t, nodes[1], len(names), prometheus, pushed)

	// The hub asks for the history half a minute after it finds nobody at first.
	sent = whole()
	eventually(t, "the history", func() error { return kept.reaches(sent) })

	// All nodes were scraped all the time, and the alert over the fleet tells of the gap.
	eventually(t, "the alert of the gap", func() error { return alerted(t.Context(), alertmanager, "PeerObserverFleetStreamGap") })
	agreement()
	namesTheNode(t, alertmanager, "bob", addresses["bob"])
	for _, q := range []struct {
		expression string
		want       float64
	}{
		{`count(min_over_time(up{job="peer-observer"}[10m]) == 1)`, 3},
		{`count(count by (node) (peerobserver_build_info{job="peer-observer"}))`, 3},
		{`count(peerobserver_node_up{job="peer-observer"} == 1)`, 3},
		{`sum(peerobserver_events_lost_total{job="peer-observer"}) or vector(0)`, 0},
		{`count(peerobserver_otlp_exports_total{job="peer-observer",signal="metrics",result="success"} > 0)`, 3},
		{`count({job="peer-observer-hub",__name__=~"peerobserver_node.*"}) or vector(0)`, 0},
		{`count(count by (node) (peerobserver_events_total{job="peer-observer-hub",node!=""}))`, 3},
	} {
		if v, err := prometheus.Value(t.Context(), q.expression); err != nil || v != q.want {
			t.Errorf("%s is %v (%v), want %v", q.expression, v, err, q.want)
		}
	}

	for name, agent := range agents {
		if code := agent.stop(); code != 0 {
			t.Errorf("the agent %s ends with %d", name, code)
		}
	}
	// An agent's last events are on their way when it has ended.
	eventually(t, "the last events", func() error {
		sent = whole()
		return errors.Join(live.reaches(sent), kept.reaches(sent))
	})

	// The hosts: every number from 1 on.
	sent = whole()
	for p, list := range sent {
		for i, n := range list {
			if n != uint64(i+1) {
				t.Errorf("%s, %s: event %d is missing or in another place on the host itself", p.node, p.source, i+1)
				break
			}
		}
	}
	// The history: the same.
	if lacks := missing(t, sent, kept.all()); len(lacks) > 0 {
		t.Errorf("the history lacks %d of %d events", count(lacks, ""), count(sent, ""))
	}
	// Live: a gap in the middle of each source's numbers that was seen, one for each.
	lacks := missing(t, sent, live.all())
	for p, list := range lacks {
		if first, last := list[0], list[len(list)-1]; last-first+1 != uint64(len(list)) {
			t.Errorf("%s, %s: %d events between %d and %d are missing, with others between them", p.node, p.source, len(list), first, last)
		} else if seen := atStop[p]; len(seen) > 0 && first != seen[len(seen)-1]+1 {
			t.Errorf("%s, %s: events are missing from %d on, but the last one before the outage was %d", p.node, p.source, first, seen[len(seen)-1])
		}
	}
	for _, name := range names {
		if count(lacks, name) == 0 {
			t.Errorf("nothing of %s is missing: this proves nothing", name)
		}
	}
	live.check(t, "live")
	kept.check(t, "kept")
	for name, r := range local {
		r.check(t, name)
	}
	t.Logf("%d events, %d missing live, %d in the history", count(sent, ""), count(lacks, ""), kept.count(""))

	// The readers' own accounts: what came and what is missing is what was sent.
	for url, gap := range map[string]bool{liveReader: true, keptReader: false} {
		eventually(t, "an even account of a reader", func() error {
			came, err := sample(url, "peerobserver_events_total")
			if err != nil {
				return err
			}
			lost, err := sample(url, "peerobserver_events_lost_total", `stage="subscribe"`, `reason="gap"`)
			if err != nil {
				return err
			}
			if int(came+lost) != count(sent, "") || (lost > 0) != gap {
				return fmt.Errorf("%v events came and %v are missing, of %d", came, lost, count(sent, ""))
			}
			return nil
		})
	}
}

// outage is how long the hub is away at least: as long as it takes the agents to publish
// something, or longer by PEER_OBSERVER_TEST_OUTAGE.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("PEER_OBSERVER_TEST_OUTAGE")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// startAgent starts an agent that publishes to its host's server.
func (b *bus) startAgent(name string, node *regtest.Node, address string, environment []string, flags ...string) *program {
	b.t.Helper()
	built, err := programs()
	if err != nil {
		b.t.Fatal(err)
	}
	args := []string{
		"agent", "--node.name=" + name, "--bitcoin.datadir=" + node.DataDir(), "--web.listen-address=" + address,
		"--nats.url=nats://" + b.leafClients[name], "--nats.user=agent", "--nats.password-file=" + filepath.Join(b.dir, name, "password"),
	}
	if !regtest.Binary(b.t).HasTracepoints || os.Geteuid() != 0 {
		args = append(args, "--no-extractor.ebpf")
	}
	return startWith(b.t, environment, b.dir, built.peerObserver, append(args, flags...)...)
}

// startReader starts "peer-observer metrics" at the hub and gives its URL.
func (b *bus) startReader(prefix string) string {
	b.t.Helper()
	built, err := programs()
	if err != nil {
		b.t.Fatal(err)
	}
	address := freeAddress(b.t)
	start(b.t, b.dir, built.peerObserver, "metrics", "--web.listen-address="+address, "--nats.subject-prefix="+prefix,
		"--nats.url=tls://"+b.hubClients, "--nats.tls-ca="+b.authority(), "--nats.user=reader", "--nats.password-file="+filepath.Join(b.dir, "hub", "password"))
	return "http://" + address
}

// startPrometheus starts Prometheus with the configuration that ships.
func (b *bus) startPrometheus(agents map[string]string, hubReader string, alertmanager *servers.Alertmanager) *servers.Prometheus {
	b.t.Helper()
	nodes := read(b.t, "targets/nodes.yml")
	for name, address := range agents {
		example := name + ".example.org:9789"
		if strings.Count(nodes, example) != 1 {
			b.t.Fatalf("targets/nodes.yml has no %s", example)
		}
		nodes = strings.ReplaceAll(nodes, example, address)
	}
	file := b.configure("prometheus", alertmanager, map[string]string{
		"nodes.yml": nodes, "hub.yml": withAddress(b.t, "hub.yml", strings.TrimPrefix(hubReader, "http://")),
	})
	return servers.StartPrometheus(b.t, servers.PrometheusConfig{Binaries: servers.ForTest(b.t, servers.Newest), ConfigFile: file})
}

// configure makes the directory of a Prometheus as the documentation has it, with targets by
// name of their file, and gives the path of the configuration.
func (b *bus) configure(name string, alertmanager *servers.Alertmanager, targets map[string]string) string {
	b.t.Helper()
	dir := filepath.Join(b.dir, name)
	files, err := filepath.Glob("../../alerts/*.rules.yml")
	if err != nil || len(files) == 0 {
		b.t.Fatalf("alert rules: %d, %v", len(files), err)
	}
	for _, file := range append(files, "fleet.rules.yml") {
		write(b.t, filepath.Join(dir, "rules", filepath.Base(file)), read(b.t, file))
	}
	for file, text := range targets {
		write(b.t, filepath.Join(dir, "targets", file), text)
	}
	write(b.t, filepath.Join(dir, "targets", "alertmanagers.yml"), withAddress(b.t, "alertmanagers.yml", alertmanager.Address()))
	config := filepath.Join(dir, "prometheus.yml")
	write(b.t, config, read(b.t, "prometheus.yml"))
	return config
}

// withAddress is a file of targets with another address.
func withAddress(t testing.TB, file, address string) string {
	t.Helper()
	return regexp.MustCompile(`"127\.0\.0\.1:\d+"`).ReplaceAllString(read(t, filepath.Join("targets", file)), `"`+address+`"`)
}

func alerted(ctx context.Context, a *servers.Alertmanager, name string) error {
	alerts, err := a.Alerts(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, alert := range alerts {
		if alert.Labels["alertname"] == name {
			return nil
		}
		names = append(names, alert.Labels["alertname"])
	}
	return fmt.Errorf("Alertmanager has %v", names)
}

// A host's server takes nothing from people without its password, and the hub believes a
// host nothing about others: it may say what it wants, only its own subjects arrive, under
// its own name.
func TestPermissions(t *testing.T) {
	t.Parallel()
	b := startBus(t, "alice", "mallory")
	hub := b.atHub("reader", readerPassword)
	got := make(chan *nats.Msg, 100)
	if _, err := hub.ChanSubscribe(">", got); err != nil {
		t.Fatal(err)
	}
	// The hub's interest has to be known at the leafs before they pass anything on.
	local := b.atLeaf("alice", "", "")
	eventually(t, "the reader's subscription at the leaf", func() error {
		text, err := get("http://" + b.leafMonitor["mallory"] + "/leafz?subs=1")
		if err == nil && !strings.Contains(text, `"netmsg"`) {
			err = errors.New("not there")
		}
		return err
	})

	// Mallory has taken over a host: he has the password of its server's operator.
	mallory := b.atLeaf("mallory", "operator", operatorPassword)
	for _, subject := range []string{"alice.netmsg", "kept.alice.netmsg", "history.alice.netmsg", "deliver.alice.S", "$JS.alice.API.CONSUMER.LIST.alice", "$JS.hub.API.STREAM.DELETE.history", "netmsg"} {
		if err := mallory.Publish(subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	if err := mallory.Flush(); err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for !slices.Contains(subjects, "mallory.netmsg") { // the last of them, on the same way
		select {
		case m := <-got:
			subjects = append(subjects, m.Subject)
		case <-t.Context().Done():
			t.Fatalf("only %v", subjects)
		}
	}
	if len(subjects) != 1 {
		t.Errorf("the hub got %v, want mallory.netmsg alone", subjects)
	}

	refused := make(chan error, 10)
	note := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	for name, conn := range map[string]*nats.Conn{
		"a reader at the hub":          b.atHub("reader", readerPassword, note),
		"a tool on a host":             b.connect("nats://"+b.leafClients["alice"], append(b.options(), note)),
		"the agent on another subject": b.connect("nats://"+b.leafClients["alice"], append(b.options(), note, nats.UserInfo("agent", agentPassword))),
	} {
		subject := "netmsg"
		if strings.HasPrefix(name, "the agent") {
			subject = "bob.netmsg"
		}
		if err := conn.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", name, err)
			}
		case <-t.Context().Done():
			t.Fatalf("%s may publish", name)
		}
	}
	if err := local.Publish("netmsg", nil); err != nil {
		t.Fatal(err)
	}

	for name, options := range map[string][]nats.Option{
		"without a password":    {nats.Secure(b.tls())},
		"with a wrong password": {nats.Secure(b.tls()), nats.UserInfo("reader", "wrong")},
		"as a host":             {nats.Secure(b.tls()), nats.UserInfo("alice", "")},
		"without our authority": {nats.UserInfo("reader", readerPassword)},
	} {
		if conn, err := nats.Connect("tls://"+b.hubClients, options...); err == nil {
			conn.Close()
			t.Errorf("the hub lets somebody in %s", name)
		}
	}
}

// A server whose certificate another authority signed, or that has none, is no leaf.
func TestHostWithoutCertificate(t *testing.T) {
	t.Parallel()
	b := startBus(t, "alice")
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "forged")
	if text, err := run(t, ".", "./certificates.sh", dir, "127.0.0.1", "alice"); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	text := strings.ReplaceAll(read(t, filepath.Join(b.dir, "alice", "leaf-settings.conf")), filepath.Join(b.dir, "certificates", "node-"), filepath.Join(dir, "node-"))
	address := freeAddress(t)
	text = strings.ReplaceAll(text, b.leafClients["alice"], address)
	text = strings.ReplaceAll(text, b.leafMonitor["alice"], freeAddress(t))
	text = strings.ReplaceAll(text, filepath.Join(b.dir, "alice", "store"), filepath.Join(dir, "store"))
	write(t, filepath.Join(dir, "leaf-settings.conf"), text)
	write(t, filepath.Join(dir, "leaf.conf"), read(t, "leaf.conf"))
	forged := start(t, dir, built.nats, "--config=leaf.conf")
	eventually(t, "the refusal", func() error {
		if log := b.hub.output.String(); !strings.Contains(log, "certificate signed by unknown authority") {
			return errors.New(log)
		}
		return nil
	})
	b.waitConnected() // still the one with the right certificate, and no other
	// With TLS 1.3 a client is through with its part before the server looks at it.
	eventually(t, "the end of connections with a forged certificate", func() error {
		log := forged.output.String()
		if created := strings.Count(log, "Leafnode connection created"); created > strings.Count(log, "Leafnode connection closed") {
			return fmt.Errorf("the hub took a server with a forged certificate:\n%s", log)
		}
		return nil
	})
}

// A node is added while the hub runs: the others keep their connections, and the history
// takes it up. When it is removed again, its certificate opens nothing any more.
func TestNodeComesAndGoes(t *testing.T) {
	t.Parallel()
	b := startBus(t, "alice")
	b.makeStreams()
	reloaded := 0
	reload := func() {
		t.Helper()
		b.runScripts()
		if err := b.hub.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		reloaded++
		eventually(t, "the new configuration", func() error {
			if log := b.hub.output.String(); strings.Count(log, "Reloaded server configuration") < reloaded {
				return errors.New(log)
			}
			return nil
		})
	}
	b.nodes = append(b.nodes, "bob")
	reload()
	b.startLeaf("bob")
	b.waitConnected()
	if log := b.hub.output.String(); strings.Contains(log, "Leafnode connection closed") {
		t.Errorf("a leaf was disconnected:\n%s", log)
	}
	b.atHost("bob", "stream add --config history-bob.json")
	b.atTheHub("stream edit history --config history.json --force")
	got := make(chan *nats.Msg, 10)
	reader := b.atHub("reader", readerPassword)
	for _, subject := range []string{"*.rpc", "kept.*.rpc"} {
		if _, err := reader.ChanSubscribe(subject, got); err != nil {
			t.Fatal(err)
		}
	}
	if err := reader.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hub's interest", func() error {
		for _, node := range b.nodes {
			if text, err := get("http://" + b.leafMonitor[node] + "/leafz?subs=1"); err != nil || !strings.Contains(text, `"rpc"`) {
				return fmt.Errorf("%s doesn't know of it: %w", node, err)
			}
		}
		return nil
	})
	for _, node := range b.nodes {
		if err := b.atLeaf(node, "agent", agentPassword).Publish("rpc", []byte(node)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"alice.rpc": "alice", "bob.rpc": "bob", "kept.alice.rpc": "alice", "kept.bob.rpc": "bob"}
	for len(want) > 0 {
		select {
		case m := <-got:
			if want[m.Subject] != string(m.Data) {
				t.Fatalf("%q on %s", m.Data, m.Subject)
			}
			delete(want, m.Subject)
		case <-t.Context().Done():
			t.Fatalf("missing: %v", want)
		}
	}

	// A reload doesn't close what is open, a restart does.
	b.nodes = b.nodes[:1]
	b.runScripts()
	b.hub.stop()
	b.startHub()
	b.waitConnected()
	eventually(t, "the refusal", func() error {
		if log := b.hub.output.String(); !strings.Contains(log, "authentication error") {
			return errors.New(log)
		}
		return nil
	})
	b.waitConnected()
}
