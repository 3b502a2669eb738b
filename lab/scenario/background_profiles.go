package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// The groups of /16 of peers that single backgrounds bring.
const (
	operatorGroups = 100
	walletGroup    = 110
	syncGroup      = 111
	buggyGroups    = 112
	crawlerGroups  = 120
	scannerGroups  = 40
	scanners       = 40
)

// together does things at the same time until the first fails or all have ended.
func together(ctx context.Context, things ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make([]error, len(things))
	var group sync.WaitGroup
	for i, do := range things {
		group.Go(func() {
			if failed[i] = do(ctx); failed[i] != nil {
				cancel()
			}
		})
	}
	group.Wait()
	for _, err := range failed {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(failed...)
}

// often does something again and again for a span of the rules' time, at random times.
func (e *everyday) often(ctx context.Context, span, every time.Duration, do func(i int) error) error {
	end := time.Now().Add(e.t.span(span))
	for i := 0; ; i++ {
		next := e.t.span(e.random.exponential(every))
		if left := time.Until(end); left < next {
			return pause(ctx, left)
		}
		if err := errors.Join(pause(ctx, next), ctx.Err()); err != nil {
			return err
		}
		if err := do(i); err != nil {
			return err
		}
	}
}

func playBusy(ctx context.Context, e *everyday, span time.Duration) error {
	e.change(func(e *everyday) {
		e.rate, e.arrivals, e.visit = busyRate, busyArrivals, 0
		e.quiet = func(a netip.Addr) bool { return a.As4()[1]%5 < 2 }
	})
	begin := time.Now()
	return together(ctx,
		func(ctx context.Context) error { return e.t.wait(ctx, span) },
		func(ctx context.Context) error { return e.download(ctx) },
		func(ctx context.Context) error { return e.wallet(ctx, begin.Add(e.t.span(span))) },
		func(ctx context.Context) error {
			return e.often(ctx, span, time.Minute, func(i int) error {
				return e.t.visit(ctx, persona{from: source(crawlerGroups+i%50, 0x0107+i)}, func(p *peer) error { return p.send(wire.NewMsgGetAddr()) })
			})
		})
}

// wallet pings every two seconds, as bitcoinj does by default.
func (e *everyday) wallet(ctx context.Context, end time.Time) error {
	var p *peer
	defer func() {
		if p != nil {
			p.close()
		}
	}()
	for time.Now().Before(end) {
		if p == nil || p.isClosed() {
			var err error
			if p, err = e.t.enter(ctx, persona{from: source(walletGroup, 0x0107)}); err != nil {
				return err
			}
		}
		_ = p.send(wire.NewMsgPing(randomNonce())) // the node may evict it
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// download takes as many blocks as the node has, 2,000 at most, as a peer that catches up.
// When the node evicts it, it comes again and goes on.
func (e *everyday) download(ctx context.Context) error {
	next := 0
	for range attempts {
		done, err := e.downloadFrom(ctx, &next)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("a peer that catches up was evicted %d times, with %d blocks", attempts, next)
}

// downloadFrom takes blocks from a number on over one connection, and says whether all are there.
func (e *everyday) downloadFrom(ctx context.Context, next *int) (done bool, err error) {
	const atOnce = 16 // blocks in flight (net_processing.cpp)
	headers := make(chan []*wire.BlockHeader, 1)
	arrived := make(chan struct{}, atOnce)
	p, err := e.t.enter(ctx, persona{from: source(syncGroup, 0x0107), answer: func(_ *peer, m wire.Message) (bool, error) {
		switch m := m.(type) {
		case *wire.MsgHeaders:
			select {
			case headers <- m.Headers:
			default: // an announcement
			}
		case *wire.MsgBlock:
			select {
			case arrived <- struct{}{}:
			default: // more than were asked for
			}
		}
		return true, nil
	}})
	if err != nil {
		return false, err
	}
	defer p.close()
	genesis, err := e.t.blockHash(ctx, 0)
	if err != nil {
		return false, err
	}
	ask := wire.NewMsgGetHeaders()
	ask.ProtocolVersion = protocolVersion
	if err := ask.AddBlockLocatorHash(&genesis); err != nil {
		return false, err
	}
	if p.send(ask) != nil {
		return false, nil // evicted
	}
	timer := time.NewTimer(handlingTime)
	defer timer.Stop()
	var list []*wire.BlockHeader
	select {
	case list = <-headers:
	case <-p.closed:
		return false, nil
	case <-timer.C:
		return false, errors.New("a peer that catches up gets no headers")
	case <-ctx.Done():
		return false, ctx.Err()
	}
	for *next < len(list) {
		some := list[*next:min(*next+atOnce, len(list))]
		if p.sendRaw(inventory("getdata", wire.InvTypeWitnessBlock, len(some), func(i int) chainhash.Hash { return some[i].BlockHash() })) != nil {
			return false, nil
		}
		for range some {
			select {
			case <-arrived:
				*next++
			case <-p.closed:
				return false, nil
			case <-timer.C:
				return false, fmt.Errorf("a peer that catches up waits for block %d", *next)
			case <-ctx.Done():
				return false, ctx.Err()
			}
		}
	}
	return true, nil
}

func playRestart(ctx context.Context, e *everyday, span time.Duration) error {
	const addresses, steps = 1000, 20
	e.pauseBlocks(true)
	e.outside.answerWith(addresses)
	defer e.outside.answerWith(honestAddresses)
	onions := e.t.beyond.onions.count()
	begin := time.Now()
	if err := e.t.shutDown(ctx); err != nil {
		return err
	}
	if err := e.t.Restart(ctx); err != nil {
		return err
	}
	e.t.down = max(e.t.down, time.Since(begin))
	err := each(ctx, e.t, steps, 5*time.Minute, func(i int) error { return e.accompany(ctx, fullCompany*(i+1)/steps) })
	if err != nil {
		return err
	}
	if onions > 0 {
		if err := e.t.keepOnions(ctx, 0); err != nil {
			return err
		}
	}
	if err := e.t.waitOutbound(ctx, fullOutbound); err != nil {
		return err
	}
	e.pauseBlocks(false)
	return errors.Join(e.block(ctx), e.t.wait(ctx, span-5*time.Minute))
}

// shutDown ends the node in good order, and waits until its process is gone.
func (t *Target) shutDown(ctx context.Context) error {
	pid := t.PID()
	if pid <= 1 {
		return fmt.Errorf("process %d is not one to end", pid)
	}
	if err := t.RPC.Call(ctx, "stop", nil, nil); err != nil {
		return fmt.Errorf("stopping the node: %w", err)
	}
	return t.until(ctx, "the node doesn't end", func() (bool, error) {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), nil
	})
}

// pauseBlocks has no block come by itself, and waits for the one that is coming.
func (e *everyday) pauseBlocks(pause bool) {
	e.change(func(e *everyday) { e.noBlocks = pause })
	e.t.mining.Lock()
	defer e.t.mining.Unlock()
}

func playLuck(ctx context.Context, e *everyday, span time.Duration) error {
	const gap, blocks, within = 55 * time.Minute, 4, 3 * time.Minute
	e.pauseBlocks(true)
	if err := errors.Join(e.block(ctx), e.t.wait(ctx, gap)); err != nil {
		return err
	}
	err := each(ctx, e.t, blocks, within, func(i int) error {
		switch i {
		case blocks - 2:
			return e.emptyBlocks(ctx, 0, 1)
		case blocks - 1:
			// It replaces the one before, with another on it.
			return e.emptyBlocks(ctx, 1, 2)
		default:
			return e.block(ctx)
		}
	})
	if err != nil {
		return err
	}
	e.pauseBlocks(false)
	return e.t.wait(ctx, span-gap-within)
}

// Transactions of a rush: 5,000 in five minutes, fewer where it is shorter.
const (
	rushTransactions = 5000
	rushEvery        = 5 * time.Minute / rushTransactions
	rushFactor       = 3
	rushOutputs      = 40
)

func playRush(ctx context.Context, e *everyday, span time.Duration) error {
	e.change(func(e *everyday) { e.fee = rushFactor * usualFee })
	begin := time.Now()
	type replacement struct {
		of, by *wire.MsgTx
		at     time.Time
	}
	var waiting []replacement
	for i := range min(rushTransactions, int(e.t.span(span)/rushEvery)) {
		if err := pause(ctx, e.random.exponential(rushEvery)); err != nil {
			return err
		}
		for len(waiting) > 0 && time.Now().After(waiting[0].at) {
			e.relay.replace(waiting[0].of, waiting[0].by)
			waiting = waiting[1:]
		}
		source, ok := e.t.some()
		if !ok {
			continue // all are spent until the next block
		}
		tx := pay(source, rushFactor*usualFee, 1+e.random.intN(rushOutputs))
		switch {
		case i%17 == 0:
			// 300 of 5,000: the second of a pair comes first, and who has it has the first.
			id := tx.TxHash()
			e.relay.know(tx)
			tx = pay(coin{*wire.NewOutPoint(&id, 0), tx.TxOut[0].Value}, rushFactor*usualFee, 1)
		case i%5 == 1:
			const later = 2 * time.Second
			again := pay(source, 2*rushFactor*usualFee, len(tx.TxOut))
			waiting = append(waiting, replacement{of: tx, by: again, at: time.Now().Add(later)})
		}
		e.relay.add(tx)
	}
	return pause(ctx, e.t.span(span)-time.Since(begin))
}

func playRelease(ctx context.Context, e *everyday, span time.Duration) error {
	const changed, buggy = 40, 5
	return together(ctx,
		func(ctx context.Context) error {
			return each(ctx, e.t, changed, span, func(i int) error {
				return e.exchange(ctx, persona{
					from: source(companyGroups+fullCompany+i, 0x0108), relay: e.relay, userAgent: releaseAgent, version: releaseVersion,
				})
			})
		},
		func(ctx context.Context) error {
			return each(ctx, e.t, buggy, span, func(i int) error {
				p, err := e.t.enter(ctx, persona{from: source(buggyGroups+i, 0x0108)})
				if err != nil {
					return err
				}
				defer p.close()
				return errors.Join(p.sendRaw(tooManyAddresses()), p.ended(ctx))
			})
		})
}

// What peers of BG6 say they are.
const (
	releaseAgent   = "/Satoshi:32.0.0/"
	releaseVersion = uint32(70015)
	releaseFilter  = usualFee / 10
)

func playDeparture(ctx context.Context, e *everyday, span time.Duration) error {
	const peers, ranges = 35, 5
	const arrival, stay, departure = 8 * time.Minute, 2 * time.Minute, 5 * time.Minute
	var operator company
	defer operator.part(all)
	err := each(ctx, e.t, peers, arrival, func(i int) error {
		e.t.beyond.company.part(1)
		return operator.keep(ctx, e.t, i+1, 0, func(i int) persona {
			return persona{from: source(operatorGroups+i%ranges, 0x1000+i)}
		})
	})
	if err := errors.Join(err, e.t.wait(ctx, stay)); err != nil {
		return err
	}
	err = each(ctx, e.t, ranges, departure, func(int) error {
		operator.part(peers / ranges)
		return nil
	})
	if err != nil {
		return err
	}
	// Half as many within half an hour.
	span -= arrival + stay + departure
	return each(ctx, e.t, peers/2, min(span, 30*time.Minute), func(i int) error { return e.accompany(ctx, fullCompany-peers+i+1) })
}

func playNoise(ctx context.Context, e *everyday, span time.Duration) error {
	var open sync.WaitGroup
	defer open.Wait()
	otherChain := frame(uint32(wire.MainNet), "version", 0, checksumOf(nil), nil)
	probes := [][]byte{[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), append([]byte{0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3}, make([]byte, 41)...), otherChain}
	return together(ctx,
		func(ctx context.Context) error {
			return e.often(ctx, span, time.Minute/10, func(i int) error {
				open.Go(func() { e.probe(ctx, i, probes[i%len(probes)], time.Second) })
				return nil
			})
		},
		func(ctx context.Context) error {
			// The node gives them a minute, which isn't scaled.
			return e.often(ctx, span, time.Minute/2, func(i int) error {
				open.Go(func() { e.probe(ctx, i, nil, e.t.span(time.Minute)) })
				return nil
			})
		},
		func(ctx context.Context) error { return sendMutated(ctx, e.t, 1) },
		func(ctx context.Context) error { return e.t.wait(ctx, span) },
	)
}

// probe opens a connection that isn't one of a peer, and holds it for a while, or until the
// node closes it.
func (e *everyday) probe(ctx context.Context, i int, data []byte, hold time.Duration) {
	conn, err := e.t.dialAs(ctx, persona{from: source(scannerGroups+i%scanners, 0x0109+i)})
	if err != nil {
		return // the end
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(hold))
	_, _ = conn.Write(data)
	_, _ = conn.Read(make([]byte, 1))
}

func playFlap(ctx context.Context, e *everyday, span time.Duration) error {
	const away = 5 * time.Minute
	if err := loseOnions(ctx, e.t, away); err != nil {
		return err
	}
	return errors.Join(e.t.keepOnions(ctx, 0), e.t.wait(ctx, span-away))
}

// block has a peer announce and deliver a block with what is in the node's mempool.
func (e *everyday) block(ctx context.Context) error {
	e.t.mining.Lock()
	defer e.t.mining.Unlock()
	block, err := e.t.template(ctx)
	if err != nil {
		return fmt.Errorf("making a block: %w", err)
	}
	return e.deliver(ctx, block)
}

// emptyBlocks has a peer deliver empty blocks on the one that is depth blocks below the tip.
func (e *everyday) emptyBlocks(ctx context.Context, depth, count int) error {
	e.t.mining.Lock()
	defer e.t.mining.Unlock()
	on, err := e.t.best(ctx, depth)
	if err != nil {
		return err
	}
	blocks, err := mine(on, count, 0)
	if err != nil {
		return err
	}
	return e.deliver(ctx, blocks...)
}

// deliver has one of the peers deliver blocks, and then all announce the last.
func (e *everyday) deliver(ctx context.Context, blocks ...*wire.MsgBlock) error {
	last := blocks[len(blocks)-1]
	err := errors.New("there is no peer to deliver a block")
	for p, address := range e.peers() {
		if p.isClosed() || e.isQuiet(address) {
			continue
		}
		if err = p.offer(blocks...); err == nil {
			err = e.t.waitTip(ctx, last.BlockHash())
		}
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	for _, block := range blocks {
		e.relay.mined(block)
		e.t.collect(block)
	}
	header := e.relay.tipHeader()
	for p, address := range e.peers() {
		if !p.isClosed() && !e.isQuiet(address) {
			_ = p.send(header) // it may have ended
		}
	}
	return nil
}

// pay makes a transaction of a coin with a number of outputs, of which the first has nearly
// all of it. fee is in satoshi per 1,000 vbytes.
func pay(source coin, fee int64, outputs int) *wire.MsgTx {
	const base, output = 100, 43 // vbytes
	tx := spend(source)
	total := fee * int64(base+output*outputs) / 1000
	tx.AddTxOut(wire.NewTxOut(source.value-total-int64(outputs-1)*dust, coinScript()))
	for range outputs - 1 {
		tx.AddTxOut(wire.NewTxOut(dust, coinScript()))
	}
	return tx
}

// tooManyAddresses is an addr message with more addresses than the protocol allows.
func tooManyAddresses() []byte {
	const addresses, entrySize = 1001, 30
	return message("addr", append(appendCount(nil, addresses), bytes.Repeat([]byte{0}, addresses*entrySize)...))
}
