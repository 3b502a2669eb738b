package metrics_test

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMessages(t *testing.T) {
	r := newRig(t, metrics.Config{})
	r.want(map[string]float64{
		`p2p_messages_total{connection_type="inbound",direction="inbound",message="ping"}`:  0,
		`p2p_messages_total{connection_type="inbound",direction="inbound",message="alert"}`: absent,
	})
	r.message(alice, true, "ping", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(1 << 63)}}})
	r.message(alice, true, "ping", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(255)}}})
	r.message(alice, true, "ping", 0, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Oldping{Oldping: true}})
	r.message(alice, false, "pong", 8, nil)
	r.message(bob, true, "alert", 100, nil)
	r.message(bob, true, "hostile_name", 7, nil)
	r.message(bob, true, "inv", 37, &eventpb.MessageEvent{
		PayloadState: eventpb.PayloadState_PAYLOAD_STATE_MALFORMED.Enum(), TrailingBytes: proto.Uint64(3)})
	r.message(carol, true, "version", 100, version("/Satoshi:29.0.0/"))
	r.message(carol, true, "version", 100, version("/Satoshi:29.0.0/Knots:20250903/"))
	r.message(alice, true, "version", 100, version("/pynode:0.0.1/"))
	r.message(alice, true, "version", 100, version("/I choose my own name/"))
	r.message(alice, true, "feefilter", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Feefilter{Feefilter: &eventpb.FeeFilter{Fee: proto.Int64(1000)}}})
	r.message(alice, true, "reject", 20, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Reject{Reject: &eventpb.Reject{
		RejectedCommand: proto.String("tx"), Reason: eventpb.Reject_REJECT_REASON_DUST.Enum()}}})
	r.want(map[string]float64{
		`p2p_messages_total{connection_type="inbound",direction="inbound",message="ping"}`:                   3,
		`p2p_message_bytes_total{connection_type="inbound",direction="inbound",message="ping"}`:              16,
		`p2p_messages_total{connection_type="inbound",direction="outbound",message="pong"}`:                  1,
		`p2p_messages_total{connection_type="outbound-full-relay",direction="inbound",message="alert"}`:      1,
		`p2p_messages_total{connection_type="outbound-full-relay",direction="inbound",message="other"}`:      1,
		`p2p_message_bytes_total{connection_type="outbound-full-relay",direction="inbound",message="other"}`: 7,
		`p2p_messages_total{connection_type="block-relay-only",direction="inbound",message="version"}`:       2,
		`label_overflow_total{label="message"}`:                                                              1,
		`p2p_ping_nonces_total{bits="64"}`:                                                                   1,
		`p2p_ping_nonces_total{bits="8"}`:                                                                    1,
		`p2p_pings_without_nonce_total`:                                                                      1,
		`p2p_payload_anomalies_total{direction="inbound",state="malformed"}`:                                 1,
		`p2p_payload_anomalies_total{direction="inbound",state="trailing"}`:                                  1,
		`p2p_version_messages_total{user_agent="satoshi"}`:                                                   1,
		`p2p_version_messages_total{user_agent="knots"}`:                                                     1,
		`p2p_version_messages_total{user_agent="private_broadcast"}`:                                         1,
		`p2p_version_messages_total{user_agent="other"}`:                                                     1,
		`p2p_private_broadcast_versions_total`:                                                               1,
		`p2p_feefilter_satoshis_per_kvbyte_sum{direction="inbound"}`:                                         1000,
		`p2p_feefilter_satoshis_per_kvbyte_bucket{direction="inbound",le="999"}`:                             0,
		`p2p_feefilter_satoshis_per_kvbyte_bucket{direction="inbound",le="1000"}`:                            1,
		`p2p_reject_messages_total{reason="dust",rejected="tx"}`:                                             1,
		`events_total{event="message",source="ebpf"}`:                                                        13,
		`event_receive_delay_seconds_count`:                                                                  13,
		`event_receive_delay_seconds_sum`:                                                                    0.013,
	})
}

// The time that a message takes is put together from the hits that follow on its
// thread.
func TestServiceTime(t *testing.T) {
	r := newRig(t, metrics.Config{})
	r.open(alice)
	// Two milliseconds of work that end with the next message.
	r.message(alice, true, "inv", 37, nil)
	r.work(2*time.Millisecond).message(alice, true, "tx", 250, nil)
	// 5 ms until the transaction is in the mempool, of which 4 waiting for the disk: all
	// of it counts. Then one ms more until the thread turns to another peer.
	r.work(time.Millisecond).after(4 * time.Millisecond)
	r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{Added: &eventpb.Added{Txid: hash("a", 1)}}})
	r.work(time.Millisecond).message(bob, false, "inv", 37, nil)
	// Work after that belongs to nobody.
	r.work(time.Second).message(alice, true, "ping", 8, nil)
	// The pong goes out after 100 µs; then the thread sleeps for 10 s, waking up for
	// 30 ms in all, which is less than the percent that is taken off.
	r.work(100*time.Microsecond).message(alice, false, "pong", 8, nil)
	r.work(30*time.Millisecond).after(10*time.Second).message(alice, true, "headers", 82, nil)
	r.want(map[string]float64{
		`p2p_message_service_seconds_sum{message="inv"}`:       0.002,
		`p2p_message_cpu_seconds_total{message="inv"}`:         0.002,
		`p2p_message_service_seconds_sum{message="tx"}`:        0.006,
		`p2p_message_cpu_seconds_total{message="tx"}`:          0.002,
		`p2p_message_service_seconds_sum{message="ping"}`:      0.0001,
		`p2p_message_cpu_seconds_total{message="ping"}`:        0.0001,
		`p2p_message_service_seconds_count{message="ping"}`:    1,
		`p2p_message_service_seconds_count{message="headers"}`: absent,
	})
}

// The peers that make most work are named as evidence, with what they do it.
func TestHeaviestPeers(t *testing.T) {
	r := newRig(t, metrics.Config{})
	for range 3 {
		r.message(alice, true, "inv", 37, nil)
		r.work(time.Millisecond).message(alice, true, "ping", 8, nil)
		r.work(100*time.Microsecond).message(bob, true, "tx", 250, nil)
		r.work(900 * time.Microsecond)
	}
	r.message(alice, true, "ping", 8, nil)
	r.after(20 * time.Second).peerInfos()
	list := r.sink.Heaviest()
	if len(list) != 1 || list[0].Node != "alpha" || !list[0].Time.Equal(r.now) || len(list[0].Peers) != 2 {
		t.Fatalf("%+v", list)
	}
	for i, want := range []metrics.HeavyPeer{
		{ID: alice.id, Direction: "inbound", ConnectionType: "inbound", CPU: 0.0033, Share: 0.55, Message: "inv", MessageCPU: 0.003},
		{ID: bob.id, Direction: "outbound", ConnectionType: "outbound-full-relay", CPU: 0.0027, Share: 0.45, Message: "tx", MessageCPU: 0.0027},
	} {
		got := list[0].Peers[i]
		// The minute may have begun within the test: its part is a share of it.
		if math.Abs(got.CPU/want.CPU-1) > 0.5 || math.Abs(got.Share-want.Share) > 1e-6 || math.Abs(got.MessageCPU/got.CPU-want.MessageCPU/want.CPU) > 1e-6 {
			t.Errorf("%+v, want %+v", got, want)
		}
		want.CPU, want.Share, want.MessageCPU = got.CPU, got.Share, got.MessageCPU
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
