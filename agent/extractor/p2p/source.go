package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/proto/event"
)

// maxAcceptDelay is the longest pause after a failed accept, which most often means
// that the process has no file descriptors left.
const maxAcceptDelay = time.Second

// Source listens for the node's connection and publishes what comes over it.
type Source struct {
	config   Config
	emitter  *event.Emitter
	account  *event.SourceAccount
	counters counters
	logger   *slog.Logger
	peers    *peerList
	// linkCount numbers the links of all runs.
	linkCount atomic.Uint64
	// signet is the magic of a signet with a challenge of its own, zero for the
	// public one.
	signet atomic.Uint32
	// changed has a value after the link came up or ended.
	changed chan struct{}
	// advertised is where the node is told to connect to; set by Run before
	// anything that reads it.
	advertised string

	mu       sync.Mutex
	listener net.Listener
	// open are the connections of all kinds, active the verified one.
	open    map[*link]struct{}
	active  *link
	accepts uint64
}

// New checks the configuration; it neither listens nor connects yet.
func New(config Config, emitter *event.Emitter, ledger *event.Ledger, logger *slog.Logger) (*Source, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Source{
		config:   config,
		emitter:  emitter,
		account:  emitter.Account(),
		counters: newCounters(ledger),
		logger:   logger,
		peers:    newPeerList(config.Client),
		changed:  make(chan struct{}, 1),
		open:     map[*link]struct{}{},
	}, nil
}

// Listen opens the port, so that a port in use shows before anything else starts. Run
// does it too; calling it before is optional. The error wraps that of the system and
// names the flag.
func (s *Source) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", s.config.ListenAddress) //nolint:noctx // opening a socket doesn't block
	if err != nil {
		hint := "--extractor.p2p.listen-address"
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = "the port is taken: choose another one with --extractor.p2p.listen-address"
		}
		return fmt.Errorf("listening for the node's connection on %s (%s): %w", s.config.ListenAddress, hint, err)
	}
	s.listener = listener
	return nil
}

// Addr is the address listened on, nil before Listen and after Run.
func (s *Source) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Run works until ctx ends and then leaves nothing behind in the node: its connection
// is closed, and it was never told to keep one. Run fails only if it can't listen.
func (s *Source) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.mu.Lock()
	listener := s.listener
	s.mu.Unlock()
	s.advertised = advertisedAddress(s.config.AdvertiseAddress, listener.Addr())

	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { s.keepLinked(ctx) })
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	err := s.accept(ctx, listener, &group)
	cancel()
	stop()
	listener.Close()
	group.Wait()
	s.mu.Lock()
	s.listener = nil
	s.mu.Unlock()
	return err
}

// advertisedAddress is where the node is told to connect to.
func advertisedAddress(configured string, listener net.Addr) string {
	host, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		return listener.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		// Listening everywhere includes loopback, and "::" means IPv4 as well.
		host = "127.0.0.1"
	}
	if configured != "" {
		configuredHost, configuredPort, err := net.SplitHostPort(configured)
		if err != nil {
			return configured
		}
		host = configuredHost
		if configuredPort != "0" {
			port = configuredPort
		}
	}
	return net.JoinHostPort(host, port)
}

// accept starts a link for every connection until ctx ends.
func (s *Source) accept(ctx context.Context, listener net.Listener, group *sync.WaitGroup) error {
	delay := time.Duration(0)
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accepting the node's connection: %w", err)
		}
		if err != nil {
			s.counters.accept.Add(1)
			delay = min(max(2*delay, 5*time.Millisecond), maxAcceptDelay)
			s.logger.Warn("accepting a connection failed", "err", err, "again_in", delay)
			if sleep(ctx, delay) != nil {
				return nil //nolint:nilerr // ctx has ended
			}
			continue
		}
		delay = 0
		l := s.admit(conn)
		group.Go(func() {
			l.run(ctx)
			s.forget(l)
		})
	}
}

// admit makes a link of a connection. When there are too many, the oldest one that has
// not finished its handshake is closed, or else the oldest one that isn't verified: the
// node needs milliseconds for its handshake, so it gets in however many others hold
// connections that they do nothing with.
func (s *Source) admit(conn net.Conn) *link {
	l := &link{
		source: s,
		conn:   conn,
		logger: s.logger,
		done:   make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepts++
	l.order = s.accepts
	if len(s.open) >= s.config.MaxConnections {
		victim := l // if the only one allowed is the node's
		for other := range s.open {
			if other != s.active && (victim == l || other.goesBefore(victim)) {
				victim = other
			}
		}
		victim.close(errEvicted)
		if victim == l {
			return l
		}
		// Its goroutine ends by itself; its place is free now.
		delete(s.open, victim)
	}
	s.open[l] = struct{}{}
	return l
}

// goesBefore says which of two connections has to go when there are too many.
func (l *link) goesBefore(other *link) bool {
	if l.handshaken != other.handshaken {
		return other.handshaken
	}
	return l.order < other.order
}

// finishedHandshake makes l one of the last to go when there are too many.
func (s *Source) finishedHandshake(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.handshaken = true
}

func (s *Source) forget(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, l)
}

// verify finds out whether l is a connection of the observed node, and makes it the
// source's link. The error is errNotObserved, errDuplicate or errUnverified.
func (s *Source) verify(ctx context.Context, l *link) (nodePeer, error) {
	var lastErr error
	for misses := 0; ; {
		peers, err := s.peers.fresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nodePeer{}, fmt.Errorf("%w: %w", errUnverified, errors.Join(lastErr, ctx.Err()))
		case err != nil:
			lastErr = err
			if err := sleep(ctx, peerListAge); err != nil {
				return nodePeer{}, fmt.Errorf("%w: %w", errUnverified, lastErr)
			}
			continue
		}
		peer, found := l.identity.find(peers)
		if found {
			return peer, s.claim(ctx, l, peers)
		}
		// The node lists a connection before it sends anything over it. A second
		// look costs little and forgives what we don't know of.
		if misses++; misses == 2 {
			return nodePeer{}, errNotObserved
		}
	}
}

// claim makes l the active link. The one that there is stays if the node still lists
// it among its peers.
func (s *Source) claim(ctx context.Context, l *link, peers []nodePeer) error {
	for {
		s.mu.Lock()
		active := s.active
		if active == nil {
			s.active = l
		}
		s.mu.Unlock()
		if active == nil {
			s.wake()
			return nil
		}
		if _, listed := active.identity.find(peers); listed {
			return errDuplicate
		}
		active.close(errReplaced)
		select {
		case <-active.done:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errUnverified, ctx.Err())
		}
	}
}

// release ends l's time as the active link.
func (s *Source) release(l *link) {
	s.mu.Lock()
	if s.active == l {
		s.active = nil
	}
	s.mu.Unlock()
	s.wake()
}

func (s *Source) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// notLinked reports why there is no link, unless there is one by now.
func (s *Source) notLinked(report func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		report()
	}
}

// linked says whether there is a verified link.
func (s *Source) linked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active != nil
}

// network is the magic of the node's chain.
func (s *Source) network() (wire.BitcoinNet, error) {
	switch chain := s.config.Chain(); chain {
	case "main":
		return wire.MainNet, nil
	case "test":
		return wire.TestNet3, nil
	case "testnet4":
		return wire.TestNet4, nil
	case "signet":
		if magic := s.signet.Load(); magic != 0 {
			return wire.BitcoinNet(magic), nil
		}
		return wire.SigNet, nil
	case "regtest":
		return wire.TestNet, nil
	case "":
		return 0, errNoChain
	default:
		return 0, fmt.Errorf("unknown chain %q", chain)
	}
}
