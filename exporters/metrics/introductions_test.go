package metrics_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Who comes often from one network under ever other names, and who asks for addresses again
// and again, shows; other networks that come as often in sum don't.
func TestIntroductions(t *testing.T) {
	r := newRig(t, metrics.Config{})
	come := func(id uint64, addr, agent string) {
		p := peer{id, addr, eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, 1}
		r.open(p)
		r.message(p, true, "version", 100, version(agent))
		r.message(p, true, "getaddr", 0, nil)
		r.close(p, start)
	}
	for i := range uint64(40) {
		come(1000+i, fmt.Sprintf("20.%d.0.1:1", i), fmt.Sprintf("/a:%d/", i))
	}
	later := func() {
		r.after(20*time.Second).message(peer{1, "8.8.8.8:1", eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, 1}, true, "ping", 8, nil)
	}
	later()
	r.want(map[string]float64{"connections_user_agents_top_netgroup": 0, "peers_user_agents_per_netgroup_max": 1, "p2p_getaddr_top_netgroup": 1})
	for i := range uint64(20) {
		come(2000+i, fmt.Sprintf("21.1.%d.1:1", i), fmt.Sprintf("/a:%d/", i%12))
	}
	later()
	r.want(map[string]float64{"connections_user_agents_top_netgroup": 12, "peers_user_agents_per_netgroup_max": 12, "p2p_getaddr_top_netgroup": 20})
}

// Peers that take announcements, by what they give.
func TestAnnouncedTo(t *testing.T) {
	r := newRig(t, metrics.Config{})
	taker, giver, fresh := info(1, "8.8.8.8:41000", "ipv4", "inbound", "v1"), info(2, "9.9.9.9:8333", "ipv4", "inbound", "v2"), info(3, "9.9.9.8:8333", "ipv4", "inbound", "v2")
	taker.BytesSentPerMessage = map[string]uint64{"inv": 100_000}
	giver.BytesSentPerMessage, giver.BytesReceivedPerMessage = taker.BytesSentPerMessage, map[string]uint64{"tx": 250}
	fresh.BytesSentPerMessage = map[string]uint64{"inv": 99_999}
	r.peerInfos(taker, giver, fresh)
	r.want(map[string]float64{`peers_announced_to{gave="nothing"}`: 1, `peers_announced_to{gave="something"}`: 1})
}
