package scenario

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// summaryTime is longer than the agent takes to say what single peers do: it adds that up
// every ten seconds, whatever the time scale of the rules.
const summaryTime = 12 * time.Second

// patience is how long a scenario goes on at least that runs beside others, so that an
// observer on a busy machine sees it in scaled time too.
const patience = 50 * time.Second

// handlingTime is how long the node may take for what a peer sent.
const handlingTime = 2 * time.Minute

// message is a P2P message of a type with a payload (v1 transport).
func message(command string, payload []byte) []byte {
	return frame(uint32(network), command, uint32(len(payload)), checksumOf(payload), payload)
}

// inventory is an inv or getdata message with count items whose hashes are given by hash.
func inventory(command string, kind wire.InvType, count int, hash func(i int) chainhash.Hash) []byte {
	payload := appendCount(nil, count)
	for i := range count {
		h := hash(i)
		payload = append(payload, byte(kind), byte(kind>>8), byte(kind>>16), byte(kind>>24))
		payload = append(payload, h[:]...)
	}
	return message(command, payload)
}

// appendCount appends a number below 2^32 as P2P messages write their numbers of entries.
func appendCount(data []byte, count int) []byte {
	switch {
	case count < 0xfd:
		return append(data, byte(count))
	case count <= 0xffff:
		return append(data, 0xfd, byte(count), byte(count>>8))
	default:
		return append(data, 0xfe, byte(count), byte(count>>8), byte(count>>16), byte(count>>24))
	}
}

// randomHash is the hash of nothing that exists.
func randomHash(int) chainhash.Hash {
	var hash chainhash.Hash
	_, _ = rand.Read(hash[:]) // never fails (crypto/rand)
	return hash
}

// always gives one hash again and again.
func always(hash chainhash.Hash) func(int) chainhash.Hash {
	return func(int) chainhash.Hash { return hash }
}

// handled waits until the node has handled everything that the peer sent before.
func (p *peer) handled(ctx context.Context) error {
	ping := wire.NewMsgPing(randomNonce())
	if err := p.send(ping); err != nil {
		return err
	}
	timer := time.NewTimer(handlingTime)
	defer timer.Stop()
	for {
		select {
		case nonce := <-p.pongs:
			if nonce == ping.Nonce {
				return nil
			}
		case <-p.closed:
			return errors.Join(errors.New("the node closed the connection"), p.err)
		case <-timer.C:
			return errors.New("the node doesn't answer")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flood has a peer send messages and stay until the agent and the rules have seen it.
func flood(ctx context.Context, t *Target, messages ...[]byte) error {
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	for _, m := range messages {
		if err := p.sendRaw(m); err != nil {
			return err
		}
	}
	if err := p.handled(ctx); err != nil {
		return err
	}
	return pause(ctx, max(t.span(time.Minute), summaryTime))
}

// invFlood has a peer announce transactions that nobody has, 1,000 in a message.
func invFlood(ctx context.Context, t *Target, messages int) error {
	var all [][]byte
	for range messages {
		all = append(all, inventory("inv", wire.InvTypeTx, 1000, randomHash))
	}
	return flood(ctx, t, all...)
}

// getDataFlood has a peer ask for transactions that nobody has.
func getDataFlood(ctx context.Context, t *Target, count int) error {
	return flood(ctx, t, inventory("getdata", wire.InvTypeTx, count, randomHash))
}

// redownload has a peer ask for the first blocks of the chain again and again.
func redownload(ctx context.Context, t *Target, distinct, count int) error {
	var hashes []chainhash.Hash
	for height := range distinct {
		hash, err := t.blockHash(ctx, height+1)
		if err != nil {
			return err
		}
		hashes = append(hashes, hash)
	}
	return flood(ctx, t, inventory("getdata", wire.InvTypeWitnessBlock, count, func(i int) chainhash.Hash { return hashes[i%len(hashes)] }))
}

// refetch has a peer ask again and again for a transaction of a new block, which the node
// keeps at hand.
func refetch(ctx context.Context, t *Target, count int) error {
	made, err := t.generate(ctx, 1, "raw(51)")
	if err != nil {
		return err
	}
	if len(made) != 1 {
		return errors.New("the node made no block")
	}
	var block struct {
		Transactions []string `json:"tx"`
	}
	if err := t.RPC.Call(ctx, "getblock", []any{made[0], 1}, &block); err != nil {
		return err
	}
	if len(block.Transactions) == 0 {
		return errors.New("a block without transactions")
	}
	hash, err := chainhash.NewHashFromStr(block.Transactions[0])
	if err != nil {
		return err
	}
	return flood(ctx, t, inventory("getdata", wire.InvTypeWitnessTx, count, always(*hash)))
}

// blockHash gives the hash of a block of the chain.
func (t *Target) blockHash(ctx context.Context, height int) (chainhash.Hash, error) {
	var text string
	if err := t.RPC.Call(ctx, "getblockhash", []any{height}, &text); err != nil {
		return chainhash.Hash{}, err
	}
	hash, err := chainhash.NewHashFromStr(text)
	if err != nil {
		return chainhash.Hash{}, err
	}
	return *hash, nil
}
