package regtest

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"
)

// pace says how often something happens.
type pace struct {
	meanTransactionGap time.Duration
	blockGap           [2]time.Duration // least and most
	addressGap         [2]time.Duration
}

// defaultPace is slow enough to cost next to nothing and fast enough that a
// dashboard shows life within a minute.
func defaultPace() pace {
	return pace{
		meanTransactionGap: time.Second,
		blockGap:           [2]time.Duration{20 * time.Second, 30 * time.Second},
		addressGap:         [2]time.Duration{15 * time.Second, 30 * time.Second},
	}
}

// Traffic keeps a trickle of honest traffic going between nodes that are
// connected to one another, until ctx ends: about a transaction a second, a
// block every 20 to 30 s, now and then a gossiped address. A node that doesn't
// answer for a while (it is being restarted, say) is skipped. It returns the
// number of calls that failed with the last error, nil if none did or if they
// failed because ctx ended.
//
// The addresses are of 240.0.0.0/4, which Bitcoin Core relays and nobody has;
// still the nodes should run without AutomaticOutbound.
func Traffic(ctx context.Context, nodes ...*Node) (failed int, last error) {
	return traffic(ctx, defaultPace(), nodes)
}

func traffic(ctx context.Context, pace pace, nodes []*Node) (failed int, last error) {
	if len(nodes) == 0 {
		return 0, errors.New("regtest: traffic needs at least one node")
	}
	note := func(err error) {
		if err != nil && ctx.Err() == nil {
			failed++
			last = err
		}
	}
	funder := nodes[0]
	pick := func() *Node { return nodes[rand.IntN(len(nodes))] }

	// So many coins that between two blocks they don't run out.
	note(funder.Fund(ctx, 2*int(pace.blockGap[1]/pace.meanTransactionGap)))
	note(SyncBlocks(ctx, nodes...))

	transaction := time.NewTimer(pace.meanTransactionGap)
	block := time.NewTimer(between(pace.blockGap))
	address := time.NewTimer(between(pace.addressGap))
	defer transaction.Stop()
	defer block.Stop()
	defer address.Stop()
	for {
		select {
		case <-ctx.Done():
			return failed, last
		case <-transaction.C:
			_, err := funder.SendTransactionsVia(ctx, pick(), 1)
			note(err)
			// Exponential gaps, as independent senders make them.
			gap := time.Duration(rand.ExpFloat64() * float64(pace.meanTransactionGap))
			transaction.Reset(min(gap, 5*pace.meanTransactionGap))
		case <-block.C:
			_, err := pick().Mine(ctx, 1)
			note(err)
			block.Reset(between(pace.blockGap))
		case <-address.C:
			note(pick().gossipAddress(ctx))
			address.Reset(between(pace.addressGap))
		}
	}
}

func between(limits [2]time.Duration) time.Duration {
	return limits[0] + rand.N(limits[1]-limits[0])
}

// gossipAddress sends one made-up address to one of the node's peers (the
// hidden RPC sendmsgtopeer). The peer relays it further, as it is fresh.
func (n *Node) gossipAddress(ctx context.Context) error {
	peers, err := n.Peers(ctx)
	if err != nil {
		return err
	}
	if len(peers) == 0 {
		return nil
	}
	peer := peers[rand.IntN(len(peers))]
	ip := netip.AddrFrom4([4]byte{byte(241 + rand.IntN(10)), byte(rand.IntN(256)), byte(rand.IntN(256)), byte(1 + rand.IntN(250))})
	payload := addrv2Payload(time.Now(), ip)
	return n.Call(ctx, "sendmsgtopeer", []any{peer.ID, "addrv2", hex.EncodeToString(payload)}, nil)
}

// addrv2Payload is an addrv2 message (BIP155) with one IPv4 address.
func addrv2Payload(seen time.Time, ip netip.Addr) []byte {
	const (
		networkWitness = 0x09 // NODE_NETWORK | NODE_WITNESS, below 0xfd: one CompactSize byte
		networkIPv4    = 0x01
		port           = 8333
	)
	payload := []byte{1} // one address
	payload = binary.LittleEndian.AppendUint32(payload, uint32(seen.Unix()))
	payload = append(payload, networkWitness, networkIPv4, 4)
	payload = append(payload, ip.AsSlice()...)
	return binary.BigEndian.AppendUint16(payload, port)
}
