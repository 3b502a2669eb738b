package connectivity

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// TestRecordIsTheTruth runs TestScriptedTargets in a process with a network of its own.
func TestRecordIsTheTruth(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run=^TestScriptedTargets$", "-test.v")
	child.Env = append(os.Environ(), inNamespace+"=1", "BITCOIND="+regtest.Binary(t).Path)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("--- PASS: TestScriptedTargets")):
		t.Logf("%s", out)
	case os.Getenv("CI") != "true" && (child.ProcessState == nil || child.ProcessState.ExitCode() == 3):
		t.Skipf("THE CHECK ITSELF IS NOT TESTED: no network namespace here: %v %s", err, out)
	default:
		t.Fatalf("%v: %s", err, out)
	}
}

// expectation is what the record must say of a target; no result for one that must not
// be dialed.
type expectation struct {
	result    Result
	transport string
	fellBack  bool
}

// script is the targets of the test and what must come of them.
type script struct {
	t         *testing.T
	next      uint32
	addresses []*eventpb.Address
	want      map[string]expectation
	// touched counts connections to what must not be dialed.
	touched atomic.Int64
}

const scriptPort = 18444

// public gives an address that nobody else in the script has; IPv4 and IPv6 in turn.
func (s *script) public() netip.Addr {
	s.next++
	var b [16]byte
	if s.next%2 == 0 {
		copy(b[:], []byte{0x2a, 0x00})
		binary.BigEndian.PutUint32(b[2:], s.next*0x10001)
		b[15] = 1
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte{8, byte(s.next), byte(s.next >> 8), 1})
}

// announce adds an address to what is announced.
func (s *script) announce(a *eventpb.Address, port uint32, services uint64) {
	a.Port, a.Services, a.Timestamp = proto.Uint32(port), proto.Uint64(services), proto.Uint32(uint32(time.Now().Add(-time.Hour).Unix()))
	s.addresses = append(s.addresses, a)
}

func ipAddress(ip netip.Addr) *eventpb.Address {
	if ip.Is4() {
		return &eventpb.Address{Address: &eventpb.Address_Ipv4{Ipv4: ip.String()}}
	}
	return &eventpb.Address{Address: &eventpb.Address_Ipv6{Ipv6: ip.String()}}
}

func key(host string, port uint32) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

// targets adds n public targets; b is nil where nobody listens.
func (s *script) targets(n int, services uint64, b behaviour, want expectation) {
	for range n {
		ip := s.public()
		if b != nil {
			listen(s.t, ip.String(), scriptPort, b)
		}
		s.announce(ipAddress(ip), scriptPort, services)
		s.want[key(ip.String(), scriptPort)] = want
	}
}

// forbidden adds a target that must not be dialed although somebody listens there, if that
// is possible.
func (s *script) forbidden(host string, port uint16) {
	ip := netip.MustParseAddr(host)
	if l, err := net.Listen("tcp", key(host, uint32(port))); err == nil {
		s.t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				s.touched.Add(1)
				_ = conn.Close()
			}
		}()
	}
	s.announce(ipAddress(ip), uint32(port), 0)
}

// deaf is a listener whose queue of connections is full: attempts get no answer.
func (s *script) deaf(n int) {
	for range n {
		ip := s.public()
		for !ip.Is4() {
			ip = s.public()
		}
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = syscall.Close(fd) })
		address := &syscall.SockaddrInet4{Addr: ip.As4(), Port: scriptPort}
		if err := syscall.Bind(fd, address); err != nil {
			s.t.Fatal(err)
		}
		if err := syscall.Listen(fd, 0); err != nil {
			s.t.Fatal(err)
		}
		conn, err := net.DialTimeout("tcp", key(ip.String(), scriptPort), time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		s.announce(ipAddress(ip), scriptPort, 0)
		s.want[key(ip.String(), scriptPort)] = expectation{result: ResultConnectTimeout}
	}
}

func name32(seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// hidden adds onion and I2P targets.
func (s *script) hidden(names map[string]byte, i2p bool, n int, reply byte, want expectation) {
	for i := range n {
		var host string
		var address *eventpb.Address
		port := uint32(8333)
		if i2p {
			host, port = name32(fmt.Sprint("i2p", reply, i))+".b32.i2p", 0
			address = &eventpb.Address{Address: &eventpb.Address_I2P{I2P: host}}
		} else {
			host = onionName(fmt.Sprint("onion", reply, i))
			address = &eventpb.Address{Address: &eventpb.Address_Torv3{Torv3: host}}
		}
		names[host] = reply
		s.announce(address, port, 0)
		s.want[key(host, port)] = want
	}
}

// realNodes adds nodes of Bitcoin Core or Knots.
func (s *script) realNodes() {
	for _, v2 := range []bool{true, false} {
		ip4, ip6 := s.public(), s.public()
		regtest.ForTest(s.t, regtest.Config{V2: v2, Args: []string{"-bind=" + key(ip4.String(), scriptPort), "-bind=" + key(ip6.String(), scriptPort)}})
		for _, ip := range []netip.Addr{ip4, ip6} {
			s.announce(ipAddress(ip), scriptPort, serviceP2PV2)
			s.want[key(ip.String(), scriptPort)] = expectation{ResultSuccess, map[bool]string{true: "v2", false: "v1"}[v2], !v2}
		}
	}
}

// The script: well-behaved nodes, hostile and broken listeners, and what must not be dialed.
func newScript(t *testing.T, names map[string]byte) *script {
	s := &script{t: t, want: map[string]expectation{}}
	success, v1 := expectation{result: ResultSuccess, transport: "v1"}, func(r Result) expectation { return expectation{result: r, transport: "v1"} }
	version := message(wire.TestNet, "version", versionOf(70016))
	s.realNodes()
	s.targets(40, 0x409, node, success)
	s.targets(4, serviceP2PV2, node, expectation{ResultSuccess, "v1", true})
	s.targets(6, serviceP2PV2, encrypted(long("version", versionOf(70016)), long("verack", nil)), expectation{ResultSuccess, "v2", false})
	s.targets(2, serviceP2PV2, encrypted(make([]byte, 1<<20)), expectation{ResultProtocol, "v2", false})
	s.targets(32, 0, nil, expectation{result: ResultRefused})
	s.deaf(4)
	s.targets(12, 0, tarpit, v1(ResultHandshakeTimeout))
	s.targets(2, serviceP2PV2, tarpit, expectation{ResultHandshakeTimeout, "v2", false})
	s.targets(6, 0, drip, v1(ResultHandshakeTimeout))
	s.targets(10, 0, garbage, v1(ResultNotBitcoin))
	s.targets(2, serviceP2PV2, garbage, expectation{ResultHandshakeTimeout, "v2", false})
	s.targets(8, 0, endless([]byte("220 mail.example ESMTP ready\r\n")), v1(ResultNotBitcoin))
	s.targets(2, serviceP2PV2, endless([]byte("SSH-2.0-banner\r\n")), expectation{ResultNotBitcoin, "v1", true})
	s.targets(4, 0, endless(message(wire.TestNet, "ping", make([]byte, 8))), v1(ResultProtocol))
	s.targets(4, 0, speak(wire.TestNet, version, bytes.Repeat(message(wire.TestNet, "noise", make([]byte, 4096)), 30)), v1(ResultTooMuch))
	s.targets(4, 0, speak(wire.TestNet, version, bytes.Repeat(message(wire.TestNet, "ping", make([]byte, 8)), maxMessages)), v1(ResultProtocol))
	s.targets(8, 0, hangUp, v1(ResultClosed))
	s.targets(6, 0, func(conn net.Conn) { _, _ = conn.Write(version) }, v1(ResultClosed))
	s.targets(6, 0, speak(wire.MainNet, message(wire.MainNet, "version", versionOf(70016))), v1(ResultOtherChain))
	s.targets(4, 0, speak(wire.TestNet, message(wire.TestNet, "version", versionOf(209))), v1(ResultProtocol))
	s.targets(4, 0, speak(wire.TestNet, message(wire.TestNet, "verack", nil)), v1(ResultProtocol))
	broken := bytes.Clone(version)
	broken[len(broken)-1]++
	s.targets(4, 0, speak(wire.TestNet, broken), v1(ResultProtocol))
	s.targets(4, 0, speak(wire.TestNet, []byte("\xfa\xbf\xb5\xdaversion\x00\x00\x00\x00\x00\xff\xff\xff\xff0000")), v1(ResultProtocol))
	for i := range 6 {
		ip := netip.AddrFrom4([4]byte{9, byte(i), 1, 1})
		s.announce(ipAddress(ip), scriptPort, 0)
		s.want[key(ip.String(), scriptPort)] = expectation{result: ResultUnreachable}
	}
	s.hidden(names, false, 5, 0, success)
	s.hidden(names, false, 3, 5, expectation{result: ResultRefused})
	s.hidden(names, false, 3, 4, expectation{result: ResultUnreachable})
	s.hidden(names, true, 4, 0, success)
	for _, host := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "10.255.0.1", "192.168.1.1", "172.16.0.1", "172.31.255.1", "169.254.1.1", "100.64.0.1",
		"192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.0.1",
		"::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "2002:a00:1::1", "64:ff9b::a00:1", "::ffff:10.0.0.1", "100::1", "2001::1",
		"8.222.0.1", "2a00:dddd::1", // excluded
	} {
		s.forbidden(host, scriptPort)
	}
	for _, port := range []uint16{0, 22, 25, 443, 1023} {
		s.forbidden("8.200.1."+strconv.Itoa(int(port%250)+1), port)
	}
	return s
}

// onionName makes the name of a Tor v3 service: key, checksum and version.
func onionName(seed string) string {
	public := sha256.Sum256([]byte(seed))
	sum := sha3.Sum256(append(append([]byte(".onion checksum"), public[:]...), 3))
	name := append(public[:], sum[0], sum[1], 3)
	return strings.ToLower(base32.StdEncoding.EncodeToString(name)) + ".onion"
}

// TestScriptedTargets is the test behind TestRecordIsTheTruth.
func TestScriptedTargets(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		t.Skip("runs as a part of TestRecordIsTheTruth")
	}
	names := map[string]byte{}
	const proxy = "127.0.0.9"
	s := newScript(t, names)
	socks(t, proxy, names)
	if n := len(s.addresses); n < 200 {
		t.Fatalf("%d targets, want at least 200", n)
	}
	output := filepath.Join(t.TempDir(), "record.jsonl")
	// What an earlier run left, killed in the middle of a line.
	if err := os.WriteFile(output, []byte(`{"cut`), 0o600); err != nil {
		t.Fatal(err)
	}
	ledger := event.NewLedger()
	sink, err := New(Config{
		Network: wire.TestNet, Output: output, TorProxy: proxy + ":9050", I2PProxy: proxy + ":9050",
		ConnectTimeout: 5 * time.Second, HandshakeTimeout: 15 * time.Second, NetgroupInterval: time.Millisecond, HostInterval: time.Hour,
		Exclude: []netip.Prefix{netip.MustParsePrefix("8.222.0.0/16"), netip.MustParsePrefix("2a00:dddd::/32")},
	}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := sink.Register(registry); err != nil {
		t.Fatal(err)
	}
	stop := startSink(t, sink)
	announceAll(s, event.NewStream(sink), ledger)
	// The same again is not dialed again.
	announceAll(s, event.NewStream(sink), ledger)
	if err := regtest.Eventually(t.Context(), func() error {
		if f := sink.schedule.fill(); sink.queue.Unread() > 0 || f.waiting+f.dialing > 0 || f.success+f.failure < len(s.want) {
			return fmt.Errorf("%+v of %d", f, len(s.want))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stop()
	compareRecord(t, s, output)
	if n := s.touched.Load(); n != 0 {
		t.Errorf("%d connections to targets that must not be dialed", n)
	}
	checkCounts(t, registry, s)
}

// startSink runs the sink; the function that it gives ends that.
func startSink(t *testing.T, sink *Sink) (stop func()) {
	t.Helper()
	ctx, cancel := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// announceAll emits addrv2 messages with the script's addresses, and messages that
// announce nothing to the node.
func announceAll(s *script, stream *event.Stream, ledger *event.Ledger) {
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "test", BootID: 1}, stream, ledger)
	link := event.NewEmitter(event.SourceP2P, event.Origin{NodeName: "test", BootID: 1}, stream, ledger)
	now := event.Times{Receive: time.Now().UnixNano()}
	for chunk := range slices.Chunk(s.addresses, 40) {
		emitter.Emit(messageEvent("addrv2", true, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Addrv2{Addrv2: &eventpb.AddrV2{Addresses: chunk}}}), now)
		link.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_P2PExtractor{P2PExtractor: &eventpb.P2PExtractor{
			P2PEvent: &eventpb.P2PExtractor_AddressAnnouncement{AddressAnnouncement: &eventpb.AddressAnnouncement{Addresses: chunk}},
		}}}, now)
	}
	sent := &eventpb.Address{Address: &eventpb.Address_Ipv4{Ipv4: "8.199.0.1"}, Port: proto.Uint32(scriptPort)}
	emitter.Emit(messageEvent("addr", false, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Addr{Addr: &eventpb.Addr{Addresses: []*eventpb.Address{sent}}}}), now)
	emitter.Emit(messageEvent("verack", true, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Verack{Verack: true}}), now)
}

func messageEvent(command string, inbound bool, m *eventpb.MessageEvent) *eventpb.Event {
	m.Meta = &eventpb.Metadata{Command: proto.String(command), Inbound: proto.Bool(inbound), PeerId: proto.Uint64(1), Addr: proto.String("8.8.8.8:1")}
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: m}}}}
}

// compareRecord holds the record against the script: one row a target, and no other.
func compareRecord(t *testing.T, s *script, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	if !lines.Scan() || lines.Text() != `{"cut` {
		t.Errorf("the first line is %q", lines.Text())
	}
	left := maps.Clone(s.want)
	count := map[expectation]int{}
	for lines.Scan() {
		var row Row
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		k := key(row.Address, uint32(row.Port))
		want, ok := left[k]
		if !ok {
			t.Errorf("unexpected or second row: %s", lines.Text())
			continue
		}
		delete(left, k)
		got := expectation{row.Result, row.Transport, row.FellBack}
		if got != want {
			t.Errorf("%s: %+v, want %+v", k, got, want)
		}
		count[got]++
		if row.Result == ResultSuccess && (row.ProtocolVersion < 70016 || row.Services == "" ||
			row.UserAgent != scriptedAgent && !strings.HasPrefix(row.UserAgent, "/Satoshi:")) {
			t.Errorf("what the node said is not recorded: %s", lines.Text())
		}
	}
	for k := range left {
		t.Errorf("no row for %s", k)
	}
	for _, k := range slices.SortedFunc(maps.Keys(count), func(a, b expectation) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		t.Logf("%3d %+v", count[k], k)
	}
	t.Logf("%d targets announced, %d dialed", len(s.addresses), len(s.want))
}
