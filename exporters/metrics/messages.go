package metrics

import (
	"math/bits"
	"strings"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// messages counts the P2P messages that the node received and sent, and how much work
// they make.
type messages struct {
	labels *labels

	total, bytes           *counters
	listed, listedBytes    *counters
	state                  *counters
	service                *histograms
	cpu                    *counters
	nonces                 *counters
	oldPings               *counters
	agents                 *counters
	agent                  *label
	privateBroadcast       *counters
	feefilter              *histograms
	rejects                *counters
	rejected, rejectedWhy  *label
	activity               *gauges
	cpuRatio, topPeerRatio *gauges
}

// listedMessages are the message types that are told apart for peers on a prefix list:
// those by which listeners and crawlers show.
func listedMessages() []string {
	names := make([]string, 0, len(listedMessagePlaces))
	for _, t := range listedMessagePlaces {
		names = append(names, t.String())
	}
	return names
}

func newMessages(r *registry, l *labels, summary *age) *messages {
	m := &messages{labels: l}
	m.total = r.sparseCounter(spec{
		name: "p2p_messages_total", events: "message", unit: "messages",
		help: "P2P messages that the node received (counted when it processes them) and sent.",
	}, l.message, l.direction, l.connectionType)
	m.bytes = r.sparseCounter(spec{
		name: "p2p_message_bytes_total", events: "message", unit: "bytes",
		help: "Payload bytes of P2P messages, without the header of the transport.",
	}, l.message, l.direction, l.connectionType)
	m.bytes.with = m.total
	// What a node exchanges in normal life is there from the start; the rest of the
	// product appears when it happens.
	for _, t := range []decode.MessageType{
		decode.MessageInv, decode.MessageTx, decode.MessageGetData, decode.MessagePing, decode.MessagePong,
		decode.MessageHeaders, decode.MessageAddrV2, decode.MessageVersion, decode.MessageVerAck,
	} {
		for direction := range 2 {
			for connection := range 2 {
				m.total.at3(int(t)-1, direction, connection).shown = true
			}
		}
	}
	listed := closedLabel("message", append(listedMessages(), other)...)
	m.listed = r.sparseCounter(spec{
		name: "p2p_listed_messages_total", events: "message", unit: "messages",
		help: "P2P messages exchanged with peers whose address is on a prefix list.",
	}, l.list, listed, l.direction)
	m.listedBytes = r.counter(spec{
		name: "p2p_listed_message_bytes_total", events: "message", unit: "bytes",
		help: "Payload bytes of P2P messages exchanged with peers whose address is on a prefix list.",
	}, l.list, l.direction)
	m.state = r.counter(spec{
		name: "p2p_payload_anomalies_total", events: "message", unit: "messages",
		help: "Messages whose payload is not whole and well-formed: malformed (doesn't follow the encoding of its type), truncated (cut by the capture limit), unreadable (not readable in the node's memory) or trailing (bytes follow a well-formed message).",
	}, closedLabel("state", "malformed", "truncated", "unreadable", "trailing"), l.direction)

	m.service = r.sparseHistogram(spec{
		name: "p2p_message_service_seconds", events: "ebpf.*", unit: "seconds",
		help: "Time that the node's message thread was busy with a received message, by message type. Waiting for the disk counts as far as tracepoints show that the work went on.",
	}, nanoseconds, milliseconds(500), l.message)
	m.cpu = r.secondsCounter(spec{
		name: "p2p_message_cpu_seconds_total", events: "ebpf.*", unit: "seconds",
		help: "CPU time of the node's message thread for received messages, by message type; what the thread does between messages is in it as far as it can't be told apart.",
	}, l.message)

	m.nonces = r.counter(spec{
		name: "p2p_ping_nonces_total", events: "message", unit: "messages",
		help: "Pings that the node received, by the bits that the nonce needs: software that doesn't choose it at random shows.",
	}, closedLabel("bits", "0", "8", "16", "32", "64"))
	m.oldPings = r.counter(spec{
		name: "p2p_pings_without_nonce_total", events: "message", unit: "messages",
		help: "Pings without a nonce (before BIP31) that the node received.",
	})
	m.agent = closedLabel("user_agent", append(userAgents(), other)...)
	m.agents = r.sparseCounter(spec{
		name: "p2p_version_messages_total", events: "message", unit: "messages",
		help: "Version messages that the node received, by family of the user agent.",
	}, m.agent)
	m.privateBroadcast = r.counter(spec{
		name: "p2p_private_broadcast_versions_total", events: "message", unit: "messages",
		help: "Version messages that the node received with the user agent that Bitcoin Core uses for private broadcast only.",
	})
	m.feefilter = r.histogram(spec{
		name: "p2p_feefilter_satoshis_per_kvbyte", events: "message", unit: "satoshi per 1,000 vbytes",
		help: "Fee rates in feefilter messages.",
	}, satoshi, []int64{999, 1000, 9_000_000}, l.direction)
	m.rejected = boundedLabel("rejected", "tx", "block", "version")
	m.rejectedWhy = closedLabel("reason", "malformed", "invalid", "obsolete", "duplicate", "nonstandard", "dust", "fee", "checkpoint", other)
	m.rejects = r.sparseCounter(spec{
		name: "p2p_reject_messages_total", events: "message", unit: "messages",
		help: "Reject messages (BIP61) that the node received, by what was rejected and why. Bitcoin Core sends none since 0.20.",
	}, m.rejected, m.rejectedWhy)

	var activities []string
	for a := range peerstate.Activities {
		activities = append(activities, a.String())
	}
	m.activity = r.gauge(spec{
		name: "peer_activity_max_per_minute", events: "message", unit: "per minute",
		help: "Largest count of the last minute over the peers, by what is counted.",
	}, summary, closedLabel("activity", activities...))
	m.cpuRatio = r.gauge(spec{
		name: "p2p_message_thread_cpu_ratio", events: "ebpf.*", unit: "CPU time per time",
		help: "CPU time of the last minute that the node's message thread spent on received messages.",
	}, summary)
	m.topPeerRatio = r.gauge(spec{
		name: "p2p_message_cpu_top_peer_ratio", events: "ebpf.*", unit: "share",
		help: "Share of the peer that made most work in the CPU time of the node's message thread of the last minute.",
	}, summary)
	return m
}

// userAgents are the families of user agents that are told apart, by the name in front
// of the version; the order is that of the places.
func userAgents() []string {
	return []string{
		"satoshi", "knots", "btcd", "bcoin", "libbitcoin", "bitcoinj", "bitcoin_unlimited", "bitcoin_abc", "bitcoin_xt",
		"electrum", "bitnodes", "nbitcoin", "neutrino", "rust_bitcoin", "snoopy", "breadwallet", "floresta", "kyoto",
		"peer_observer", "private_broadcast", "empty",
	}
}

// agentNames says how the families call themselves. The first match counts, so that
// Knots is found behind the name of Bitcoin Core that it keeps.
var agentNames = []struct{ text, family string }{
	{"Knots", "knots"}, {"/Satoshi", "satoshi"}, {"btcwire", "btcd"}, {"btcd", "btcd"}, {"bcoin", "bcoin"},
	{"libbitcoin", "libbitcoin"}, {"bitcoinj", "bitcoinj"}, {"BUCash", "bitcoin_unlimited"},
	{"BitcoinUnlimited", "bitcoin_unlimited"}, {"Bitcoin ABC", "bitcoin_abc"}, {"Bitcoin XT", "bitcoin_xt"},
	{"lectrum", "electrum"}, {"bitnodes", "bitnodes"}, {"NBitcoin", "nbitcoin"}, {"neutrino", "neutrino"},
	{"rust-", "rust_bitcoin"}, {"Snoopy", "snoopy"}, {"breadwallet", "breadwallet"}, {"Floresta", "floresta"},
	{"yoto", "kyoto"}, {"peer-observer", "peer_observer"},
}

// privateBroadcastAgent is what Bitcoin Core calls itself on a connection for private
// broadcast (net_processing.cpp, PushNodeVersion).
const privateBroadcastAgent = "/pynode:0.0.1/"

// agentFamily gives the family of a user agent.
func agentFamily(agent string) string {
	switch agent {
	case "":
		return "empty"
	case privateBroadcastAgent:
		return "private_broadcast"
	}
	for _, n := range agentNames {
		if strings.Contains(agent, n.text) {
			return n.family
		}
	}
	return other
}

func (m *messages) handle(msg *decode.Message, o *peerstate.Observation) {
	t := m.labels.messageIndex(msg.Type)
	direction := directionIndex(msg.Inbound)
	connection := m.labels.connectionTypeIndex(msg.ConnectionType)
	m.total.inc3(t, direction, connection)
	m.bytes.at3(t, direction, connection).add(msg.Size)
	switch msg.PayloadState {
	case eventpb.PayloadState_PAYLOAD_STATE_MALFORMED:
		m.state.inc2(0, direction)
	case eventpb.PayloadState_PAYLOAD_STATE_TRUNCATED:
		m.state.inc2(1, direction)
	case eventpb.PayloadState_PAYLOAD_STATE_UNREADABLE:
		m.state.inc2(2, direction)
	}
	if msg.TrailingBytes > 0 {
		m.state.inc2(3, direction)
	}
	if o.Peer != nil && o.Peer.Lists != 0 {
		m.onList(msg, o.Peer.Lists, direction)
	}
	switch msg.Type {
	case decode.MessagePing:
		m.ping(msg)
	case decode.MessageVersion:
		m.version(msg)
	case decode.MessageFeeFilter:
		if fee, ok := decode.FeeFilterOf(msg.Body); ok {
			m.feefilter.observe(direction, fee)
		}
	case decode.MessageReject:
		m.reject(msg)
	}
}

// onList counts a message of a peer on prefix lists.
func (m *messages) onList(msg *decode.Message, lists uint8, direction int) {
	t := len(listedMessagePlaces)
	for i, known := range listedMessagePlaces {
		if known == msg.Type {
			t = i
			break
		}
	}
	for i := range netgroup.MaxLists {
		if lists&(1<<i) != 0 {
			m.listed.inc3(i, t, direction)
			m.listedBytes.at2(i, direction).add(msg.Size)
		}
	}
}

// listedMessagePlaces are the types of listedMessages.
var listedMessagePlaces = [...]decode.MessageType{
	decode.MessageAddrV2, decode.MessageGetAddr, decode.MessageGetData, decode.MessageInv, decode.MessagePing,
	decode.MessageTx, decode.MessageVersion,
}

func (m *messages) ping(msg *decode.Message) {
	if !msg.Inbound {
		return
	}
	nonce, ok := decode.NonceOf(msg.Body)
	if !ok {
		if msg.Size == 0 {
			m.oldPings.add(1)
		}
		return
	}
	switch n := bits.Len64(nonce); {
	case n == 0:
		m.nonces.inc(0)
	case n <= 8:
		m.nonces.inc(1)
	case n <= 16:
		m.nonces.inc(2)
	case n <= 32:
		m.nonces.inc(3)
	default:
		m.nonces.inc(4)
	}
}

func (m *messages) version(msg *decode.Message) {
	if !msg.Inbound {
		return
	}
	v, ok := decode.VersionOf(msg.Body)
	if !ok {
		return
	}
	family := agentFamily(string(v.UserAgent))
	m.agents.inc(m.agent.of(family))
	if family == "private_broadcast" {
		m.privateBroadcast.add(1)
	}
}

func (m *messages) reject(msg *decode.Message) {
	if !msg.Inbound {
		return
	}
	command, reason, ok := decode.RejectOf(msg.Body)
	if !ok {
		return
	}
	why := int(reason)
	if why < 0 || why >= m.rejectedWhy.size()-1 {
		why = m.rejectedWhy.size() - 1
	}
	m.rejects.inc2(m.rejected.ofBytes(command), why)
}

// work counts the work for a message that has ended.
func (m *messages) work(s *peerstate.Service) {
	t := m.labels.messagePlace(s.Type)
	m.service.observe(t, s.Wall)
	if s.HasCPU {
		m.cpu.at(t).add(uint64(max(s.CPU, 0)))
	}
}

func (m *messages) summarise(u *peerstate.Summary) {
	for a := range peerstate.Activities {
		m.activity.at(int(a)).set(u.Activity[a])
	}
	m.cpuRatio.set(u.CPU / 60)
	m.topPeerRatio.set(u.TopCPU)
}
