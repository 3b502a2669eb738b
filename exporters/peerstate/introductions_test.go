package peerstate

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// introduce has peers from an address come one after the other, each with a user agent.
func (f *feeder) introduce(first uint64, addr string, agents ...string) {
	f.t.Helper()
	for i, agent := range agents {
		id := first + uint64(i)
		f.open(id, fmt.Sprintf("%s:%d", addr, 1000+i))
		f.version(id, agent)
	}
}

func (f *feeder) version(id uint64, agent string) {
	f.t.Helper()
	f.send(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
		Meta: &eventpb.Metadata{PeerId: proto.Uint64(id), Command: proto.String("version"), Inbound: proto.Bool(true), Size: proto.Uint64(100)},
		Msg:  &eventpb.MessageEvent_Version{Version: &eventpb.Version{Version: proto.Uint32(70016), UserAgent: proto.String(agent)}}}}})
}

func agents(count, distinct int) []string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf("/a:%d/", i%distinct)
	}
	return list
}

// Of twelve user agents on as many connections nobody says that they are rotated; of those
// on twenty it is said, for half an hour at least and an hour at most.
func TestUserAgentsOfGroups(t *testing.T) {
	f := newFeeder(t)
	f.now = time.Unix(1_700_000_000, 0).Truncate(time.Hour).Add(20 * time.Minute)
	f.introduce(100, "20.1.0.1", agents(12, 12)...)
	for i := range 15 {
		f.introduce(uint64(200+2*i), fmt.Sprintf("20.%d.0.1", 2+i), agents(2, 2)...)
	}
	if u := f.state.Summarise(); u.MostAgents != 12 || u.RotatedAgents != 0 {
		t.Errorf("%d user agents, %d rotated, want 12 and 0", u.MostAgents, u.RotatedAgents)
	}
	f.introduce(300, "20.30.0.1", agents(12, 11)...)
	f.now = f.now.Add(15 * time.Minute)
	// Another address of the same /16, across the end of a window.
	f.introduce(400, "20.30.9.9", agents(8, 3)...)
	// Only the first version message of a connection counts.
	f.version(400, "/b/")
	if u := f.state.Summarise(); u.MostAgents != 12 || u.RotatedAgents != 11 {
		t.Errorf("%d user agents, %d rotated, want 12 and 11", u.MostAgents, u.RotatedAgents)
	}
	f.now = f.now.Add(20 * time.Minute)
	f.message(1, true, "ping", 8)
	if u := f.state.Summarise(); u.RotatedAgents != 11 {
		t.Errorf("%d rotated, want 11 still", u.RotatedAgents)
	}
	f.now = f.now.Add(time.Hour)
	f.message(1, true, "ping", 8)
	if u := f.state.Summarise(); u.MostAgents != 0 || u.RotatedAgents != 0 {
		t.Errorf("%d user agents, %d rotated, want none any more", u.MostAgents, u.RotatedAgents)
	}
}

// Who comes through Tor comes from loopback, and all of Tor isn't one group.
func TestIntroductionsOfOverlayNetworks(t *testing.T) {
	f := newFeeder(t)
	for i := range uint64(30) {
		f.send(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
			Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: &eventpb.Connection{
				PeerId: proto.Uint64(i), Addr: proto.String("127.0.0.1:5555"), ConnType: eventpb.ConnType_CONN_TYPE_INBOUND.Enum(), Network: proto.Uint32(3)}}}}}})
		f.version(i, fmt.Sprint(i))
		f.message(i, true, "getaddr", 0)
	}
	if u := f.state.Summarise(); u.MostAgents != 0 || u.RotatedAgents != 0 || u.MostGetAddrs != 0 {
		t.Errorf("%d user agents, %d rotated, %d getaddr of Tor, want none", u.MostAgents, u.RotatedAgents, u.MostGetAddrs)
	}
}

// However many groups come once, and whatever they call themselves, what is remembered is
// bounded and a group that comes often is not forgotten.
func TestIntroductionsAreBounded(t *testing.T) {
	f := newFeeder(t)
	const often = 40
	for i := range uint64(4000) {
		f.open(i, fmt.Sprintf("%d.%d.0.1:1", 20+i%4, i/4%256))
		f.version(i, fmt.Sprint(i))
		if i%100 == 0 {
			id := 10_000 + i
			f.open(id, "99.99.0.1:1")
			f.version(id, fmt.Sprint(id))
			f.message(id, true, "getaddr", 0)
			f.message(id, true, "getaddr", 0)
		}
	}
	w := &f.state.introduced.current
	if len(w.groups) != introducedGroups || len(w.index) != introducedGroups {
		t.Errorf("%d groups, %d in the index, want %d", len(w.groups), len(w.index), introducedGroups)
	}
	for g, i := range w.index {
		if w.groups[i].group != g {
			t.Fatalf("the index has %v at the place of %v", g, w.groups[i].group)
		}
	}
	if u := f.state.Summarise(); u.MostGetAddrs < 2*(often-1) || u.MostGetAddrs > 2*often {
		t.Errorf("%d getaddr of one group, want about %d", u.MostGetAddrs, 2*often)
	}
	f.introduce(20_000, "99.99.0.1", agents(200, 200)...)
	if u := f.state.Summarise(); u.MostAgents != agentsPerGroup || u.RotatedAgents != agentsPerGroup {
		t.Errorf("%d user agents, %d rotated, want %d of each", u.MostAgents, u.RotatedAgents, agentsPerGroup)
	}
}

// The union of two lists in order.
func TestUnited(t *testing.T) {
	for _, c := range []struct {
		a, b []uint64
		want int
	}{
		{nil, nil, 0}, {[]uint64{1}, nil, 1}, {nil, []uint64{1, 2}, 2}, {[]uint64{1, 3, 5}, []uint64{1, 2, 5, 9}, 5},
		{[]uint64{1, 2}, []uint64{3, 4}, 4}, {[]uint64{7}, []uint64{7}, 1},
	} {
		if got := united(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// Of the inbound peers that got 100 kB of announcements those that gave anything are told
// from those that gave nothing; how long they are connected counts for Listening alone.
func TestAnnouncedTo(t *testing.T) {
	s := New(Config{Seed: testSeed})
	now := time.Unix(1_700_000_000, 0)
	s.now = now.UnixNano()
	peer := func(inbound bool, since time.Duration, taken uint64, gave string) *eventpb.PeerInfo {
		network, address, connected := "ipv4", "20.1.0.1:8333", now.Add(-since).Unix()
		info := &eventpb.PeerInfo{
			Address: &address, Network: &network, Inbound: &inbound, ConnectionTime: &connected,
			BytesSentPerMessage: map[string]uint64{"inv": taken}, BytesReceivedPerMessage: map[string]uint64{"pong": 32, "getaddr": 24},
		}
		if gave != "" {
			info.BytesReceivedPerMessage[gave] = 61
		}
		return info
	}
	list := []*eventpb.PeerInfo{
		peer(true, 2*time.Hour, 100_000, ""), peer(true, time.Minute, 100_000, ""), peer(true, 2*time.Hour, 99_999, ""),
		peer(false, 2*time.Hour, 200_000, ""),
	}
	for _, gave := range []string{"inv", "tx", "headers", "cmpctblock", "block"} {
		list = append(list, peer(true, 2*time.Hour, 200_000, gave))
	}
	if u := s.PeerInfos(list, s.now); u.Taking != 2 || u.Giving != 5 || u.Listening != 1 {
		t.Errorf("%d take, %d give, %d only listen for an hour, want 2, 5 and 1", u.Taking, u.Giving, u.Listening)
	}
}

// The group of who introduces himself is that of the prefix, whatever the autonomous system.
func TestIntroducedGroup(t *testing.T) {
	p := &Peer{Inbound: true, HasAddress: true}
	p.Address, _ = netgroup.Parse([]byte("20.1.2.3"))
	p.Group = netgroup.Group{Class: netgroup.IPv6, AS: 24940}
	if g, ok := introducedGroup(p); !ok || g != netgroup.GroupOf(&p.Address, nil) || g == p.Group {
		t.Errorf("group %v, %t", g, ok)
	}
	p.Inbound = false
	if _, ok := introducedGroup(p); ok {
		t.Error("an outbound peer introduces itself because the node came to it")
	}
}
