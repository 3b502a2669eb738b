package evidence

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Peers that only listen are ranked by the announcements that they got; one that gave
// something, or that the node connected to, has no part in it.
func TestListeners(t *testing.T) {
	peer := func(id uint32, inbound bool, taken uint64, received string) *eventpb.PeerInfo {
		return &eventpb.PeerInfo{
			Id: proto.Uint32(id), Address: proto.String("198.51.100.7:4000"), Inbound: proto.Bool(inbound), ConnectionType: proto.String("inbound"),
			BytesSentPerMessage: map[string]uint64{"inv": taken, "ping": 32}, BytesReceivedPerMessage: map[string]uint64{received: 61},
		}
	}
	data, err := proto.Marshal(&eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{
		RpcEvent: &eventpb.RpcExtractor_PeerInfos{PeerInfos: &eventpb.PeerInfos{Infos: []*eventpb.PeerInfo{
			peer(1, true, 200_000, "pong"), peer(2, true, 300_000, "inv"), peer(3, false, 300_000, "pong"), peer(4, true, 100, "getaddr"),
		}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var table peerTable
	table.init()
	table.infos(data, time.Unix(1_700_000_000, 0))
	of := measureOf(measures(), "E01").of
	for id, want := range map[uint64]float64{1: 200_000, 2: 0, 3: 0, 4: 100} {
		if got := of(table.peers[id], 0); got != want {
			t.Errorf("peer %d: %v, want %v", id, got, want)
		}
	}
}
