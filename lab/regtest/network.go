package regtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
)

// Peer is an entry of getpeerinfo, as far as this package needs it.
type Peer struct {
	ID             int               `json:"id"`
	Address        string            `json:"addr"`
	AddressBind    string            `json:"addrbind"`
	Inbound        bool              `json:"inbound"`
	ConnectionType string            `json:"connection_type"`
	Transport      string            `json:"transport_protocol_type"`
	Subversion     string            `json:"subver"`
	Version        int               `json:"version"`
	BytesRecvByMsg map[string]uint64 `json:"bytesrecv_per_msg"`
	BytesSentByMsg map[string]uint64 `json:"bytessent_per_msg"`
}

// Peers returns the node's connections.
func (n *Node) Peers(ctx context.Context) ([]Peer, error) {
	var peers []Peer
	err := n.Call(ctx, "getpeerinfo", nil, &peers)
	return peers, err
}

// Connect makes n open an outbound (manual) connection to other and waits until
// both have finished the handshake.
func (n *Node) Connect(ctx context.Context, other *Node) error {
	return n.ConnectAddress(ctx, other.P2PAddress())
}

// ConnectAddress makes n open a manual connection to HOST:PORT and waits until
// the handshake is over. The node keeps it up: it reconnects within a minute.
func (n *Node) ConnectAddress(ctx context.Context, address string) error {
	// "onetry" connects now; "add" alone waits for a thread that may sleep for
	// 60 s (net.cpp, ThreadOpenAddedConnections).
	if err := n.Call(ctx, "addnode", []any{address, "onetry"}, nil); err != nil {
		return err
	}
	err := Eventually(ctx, func() error {
		peers, err := n.Peers(ctx)
		if err != nil {
			return err
		}
		for _, peer := range peers {
			if peer.Address == address && peer.Version != 0 && peer.BytesRecvByMsg["verack"] > 0 {
				return nil
			}
		}
		return fmt.Errorf("no connection to %s yet", address)
	})
	if err != nil {
		return err
	}
	err = n.Call(ctx, "addnode", []any{address, "add"}, nil)
	var answer *node.RPCError
	if errors.As(err, &answer) && answer.Code == codeNodeAlreadyAdded {
		return nil
	}
	return err
}

// codeNodeAlreadyAdded is RPC_CLIENT_NODE_ALREADY_ADDED (rpc/protocol.h).
const codeNodeAlreadyAdded = -23

// Disconnect ends the connection to other and does not reconnect.
func (n *Node) Disconnect(ctx context.Context, other *Node) error {
	removeErr := n.Call(ctx, "addnode", []any{other.P2PAddress(), "remove"}, nil)
	return errors.Join(removeErr, n.Call(ctx, "disconnectnode", []any{other.P2PAddress()}, nil))
}

// Eventually calls check every 20 ms until it returns nil. When ctx ends first,
// or after 60 s if it has no deadline, it returns the last error.
func Eventually(ctx context.Context, check func() error) error {
	if _, set := ctx.Deadline(); !set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultStartTimeout)
		defer cancel()
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		last := check()
		if last == nil {
			return nil
		}
		if final, ok := errors.AsType[stopWaiting](last); ok {
			return final.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// stopWaiting is an error that makes Eventually give up at once.
type stopWaiting struct{ error }

func (e stopWaiting) Unwrap() error { return e.error }

// StartNetwork starts count nodes with the same configuration (Dir must be
// empty), connects each to the one before it, and mines a block: from then on
// they are out of initial block download and relay transactions.
func StartNetwork(ctx context.Context, count int, config Config) ([]*Node, error) {
	if config.Dir != "" {
		return nil, errors.New("regtest: nodes of a network can't share a data directory")
	}
	var nodes []*Node
	fail := func(err error) ([]*Node, error) {
		for _, n := range nodes {
			err = errors.Join(err, n.Stop(ctx))
		}
		return nil, err
	}
	for i := range count {
		n, err := Start(ctx, config)
		if err != nil {
			return fail(err)
		}
		nodes = append(nodes, n)
		if i > 0 {
			if err := n.Connect(ctx, nodes[i-1]); err != nil {
				return fail(err)
			}
		}
	}
	if err := wake(ctx, nodes); err != nil {
		return fail(err)
	}
	return nodes, nil
}

// wake takes nodes out of initial block download, in which they ignore
// announced transactions, by a first block with a present timestamp.
func wake(ctx context.Context, nodes []*Node) error {
	if len(nodes) == 0 {
		return nil
	}
	if _, err := nodes[0].Mine(ctx, 1); err != nil {
		return err
	}
	return SyncBlocks(ctx, nodes...)
}

// SyncBlocks waits until all nodes have the same best block.
func SyncBlocks(ctx context.Context, nodes ...*Node) error {
	return Eventually(ctx, func() error {
		first := ""
		for _, n := range nodes {
			var hash string
			if err := n.Call(ctx, "getbestblockhash", nil, &hash); err != nil {
				return err
			}
			if first == "" {
				first = hash
			}
			if hash != first {
				return fmt.Errorf("best blocks differ: %s and %s", first, hash)
			}
		}
		return nil
	})
}

// SyncMempools waits until all nodes have the same transactions.
func SyncMempools(ctx context.Context, nodes ...*Node) error {
	return Eventually(ctx, func() error {
		var first map[string]bool
		for _, n := range nodes {
			ids, err := n.mempool(ctx)
			if err != nil {
				return err
			}
			if first == nil {
				first = ids
			}
			if len(ids) != len(first) {
				return fmt.Errorf("mempools have %d and %d transactions", len(first), len(ids))
			}
			for id := range ids {
				if !first[id] {
					return fmt.Errorf("transaction %s is in one mempool only", id)
				}
			}
		}
		return nil
	})
}

// mempool returns the ids of the node's unconfirmed transactions.
func (n *Node) mempool(ctx context.Context) (map[string]bool, error) {
	var list []string
	if err := n.Call(ctx, "getrawmempool", nil, &list); err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(list))
	for _, id := range list {
		ids[id] = true
	}
	return ids, nil
}
