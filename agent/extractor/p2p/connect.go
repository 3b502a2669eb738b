package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

const (
	// lookInterval is how often it's checked whether there is something to do.
	lookInterval = time.Second
	// maxRetry is the longest time between two attempts to get a link.
	maxRetry = 5 * time.Second
	// callTimeout bounds one RPC call. `addnode onetry` answers after the node has
	// connected, which takes it up to 5 s (-timeout).
	callTimeout = 15 * time.Second
)

// keepLinked tells the node to connect whenever there is no link, until ctx ends.
func (s *Source) keepLinked(ctx context.Context) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	var (
		attempts   int
		next       time.Time
		nodeStart  int64
		lastReason string
	)
	for {
		if start := s.config.NodeStart(); start != nodeStart {
			// Another process: what was tried with the one before says nothing.
			nodeStart, attempts, next = start, 0, time.Time{}
		}
		if s.linked() {
			attempts, lastReason = 0, ""
		} else if !time.Now().Before(next) {
			attempts++
			reason := s.attempt(ctx, attempts)
			if reason != "" && reason != lastReason {
				s.logger.Warn("no link with the node", "reason", reason)
			}
			lastReason = reason
			next = time.Now().Add(min(lookInterval<<min(attempts-1, 8), maxRetry))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-ticker.C:
		}
	}
}

// attempt tells the node to connect. It returns what an operator should know, which is
// nothing where the link will come by itself.
func (s *Source) attempt(ctx context.Context, attempts int) string {
	err := s.tellNode(ctx)
	switch {
	case ctx.Err() != nil:
		return ""
	case errors.Is(err, errNoNode):
		s.notLinked(func() { s.account.Down("waiting for the node") })
		return ""
	case errors.Is(err, errNoChain):
		s.notLinked(func() { s.account.Down(errNoChain.Error()) })
		return errNoChain.Error()
	case err != nil:
		err = fmt.Errorf("telling the node to connect to %s: %w", s.advertised, err)
		s.notLinked(func() { s.account.Failed(err) })
		return err.Error()
	case attempts <= 2:
		s.notLinked(func() { s.account.Down("the node was told to connect to " + s.advertised) })
		return ""
	case s.awaitLink(ctx):
		return ""
	default:
		reason := s.whyNotLinked(ctx)
		s.notLinked(func() { s.account.Down(reason) })
		return reason
	}
}

// awaitLink gives the connection that the node just opened the time to be verified.
func (s *Source) awaitLink(ctx context.Context) bool {
	timer := time.NewTimer(lookInterval)
	defer timer.Stop()
	for !s.linked() {
		select {
		case <-s.changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return true
		}
	}
	return true
}

// tellNode makes the node open a connection to us. It returns after the node did, or
// failed to, which it doesn't say.
func (s *Source) tellNode(ctx context.Context) error {
	caller := s.config.Client()
	if caller == nil {
		return errNoNode
	}
	if s.config.Chain() == "" {
		return errNoChain
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if s.config.Chain() == "signet" {
		if err := s.findSignet(ctx, caller); err != nil {
			return err
		}
	}
	return caller.Call(ctx, "addnode", []any{s.advertised, "onetry"}, nil)
}

// whyNotLinked asks the node for the reason that can be asked for.
func (s *Source) whyNotLinked(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var info struct {
		NetworkActive *bool `json:"networkactive"`
	}
	if caller := s.config.Client(); caller != nil {
		if err := caller.Call(ctx, "getnetworkinfo", nil, &info); err == nil && info.NetworkActive != nil && !*info.NetworkActive {
			return "the node's networking is off (bitcoin-cli setnetworkactive true)"
		}
	}
	return "the node was told to connect to " + s.advertised + " but no link came about: can it reach that address" +
		" (--extractor.p2p.advertise-address), and is that address not translated on the way (-v2transport=1 helps)?"
}

// findSignet computes the magic of a signet from its challenge (BIP325): the first
// four bytes of the double SHA-256 of the challenge with its length in front.
func (s *Source) findSignet(ctx context.Context, caller Caller) error {
	var info struct {
		Challenge string `json:"signet_challenge"`
	}
	if err := caller.Call(ctx, "getblockchaininfo", nil, &info); err != nil {
		return err
	}
	challenge, err := hex.DecodeString(info.Challenge)
	if err != nil {
		return fmt.Errorf("signet challenge of the node: %w", err)
	}
	if len(challenge) == 0 {
		// Bitcoin Core before 29 doesn't say it here: the public signet, then.
		s.signet.Store(0)
		return nil
	}
	s.signet.Store(uint32(signetMagic(challenge)))
	return nil
}

func signetMagic(challenge []byte) wire.BitcoinNet {
	var b bytes.Buffer
	// Writing to a buffer doesn't fail.
	_ = wire.WriteVarBytes(&b, 0, challenge)
	hash := chainhash.DoubleHashH(b.Bytes())
	return wire.BitcoinNet(binary.LittleEndian.Uint32(hash[:4]))
}

// bestBlock is the hash of the node's best block, in the byte order of the wire.
func (s *Source) bestBlock(ctx context.Context) ([chainhash.HashSize]byte, error) {
	caller := s.config.Client()
	if caller == nil {
		return [chainhash.HashSize]byte{}, errNoNode
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var text string
	if err := caller.Call(ctx, "getbestblockhash", nil, &text); err != nil {
		return [chainhash.HashSize]byte{}, err
	}
	return parseHash(text)
}
