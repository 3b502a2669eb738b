package nats

import (
	"context"
	"errors"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// link is one connection of the publisher. It is never reconnected: what was sent on a
// connection and what must be sent again on the next can't be told apart otherwise.
type link struct {
	conn *nats.Conn
	// closed is closed when the connection is gone.
	closed chan struct{}
	// raw is the connection underneath. Closing it ends a write that hangs, which
	// closing conn would wait for.
	raw *rawDialer
	// stall closes raw when the server makes no progress.
	stall *time.Timer
}

// busy says that the server is to make progress from now on, or is given up.
func (l *link) busy() { l.stall.Reset(stallTimeout) }

// idle says that nothing is expected from the server.
func (l *link) idle() { l.stall.Stop() }

// dial connects once. onDenied is called for each event that the server refused for
// lack of permission, with its subject.
func dial(ctx context.Context, cfg *Config, discovered []string, onDenied func(subject string, err error)) (*link, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	l := &link{closed: make(chan struct{}), raw: &rawDialer{ctx: ctx, server: cfg.InProcess}}
	options = append(options,
		nats.NoReconnect(),
		nats.DontRandomize(),
		nats.SetCustomDialer(l.raw),
		// A write that hangs is ended by the publisher's own, shorter time limit.
		nats.FlusherTimeout(2*stallTimeout),
		nats.ReconnectOnFlusherError(),
		nats.ClosedHandler(func(*nats.Conn) { close(l.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				onDenied(deniedSubject(err), err)
			}
		}),
		func(o *nats.Options) error {
			o.Servers = append(cfg.servers(), discovered...)
			if cfg.InProcess != nil {
				o.Servers = []string{DefaultURL}
				o.InProcessServer = l.raw
			}
			return nil
		},
	)
	// nats.Connect can't be interrupted, but its connection can be closed.
	stop := context.AfterFunc(ctx, l.raw.Close)
	defer stop()
	l.conn, err = nats.Connect("", options...)
	if err != nil {
		l.raw.Close()
		return nil, cfg.explain(err)
	}
	l.stall = time.AfterFunc(stallTimeout, l.raw.Close)
	l.idle()
	return l, nil
}

// Close gives the connection up without sending what it may still hold.
func (l *link) Close() {
	l.idle()
	l.raw.Close()
	l.conn.Close()
	<-l.closed
}

// reason is why the connection is gone.
func (l *link) reason() error {
	if err := l.conn.LastError(); err != nil {
		return err
	}
	return errors.New("closed by the server")
}

// rawDialer dials for nats.go and keeps the connection that it made last.
type rawDialer struct {
	ctx    context.Context //nolint:containedctx // nats.go passes none to a dialer
	server *Server

	mu   sync.Mutex
	conn net.Conn
}

// Dial implements nats.CustomDialer.
func (d *rawDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(d.ctx, network, address)
	return d.keep(conn, err)
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *rawDialer) InProcessConn() (net.Conn, error) {
	return d.keep(d.server.server.InProcessConn())
}

func (d *rawDialer) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.conn = conn
	d.mu.Unlock()
	return conn, nil
}

// Close closes the connection made last.
func (d *rawDialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.Close()
	}
}

var deniedPattern = regexp.MustCompile(`[Pp]ublish to "([^"]+)"`)

// deniedSubject finds the subject in the server's message about a refused event.
func deniedSubject(err error) string {
	if match := deniedPattern.FindStringSubmatch(err.Error()); match != nil {
		return match[1]
	}
	return ""
}

// ServerInfo is what is known of a NATS server after connecting.
type ServerInfo struct {
	// URL is without password.
	URL, Name, Version string
	// MaxPayload is the largest message that the server takes, in bytes.
	MaxPayload int64
	// RoundTrip is the time of one ping.
	RoundTrip time.Duration
}

// Check connects once, as the publisher would, and says what it found. The error names
// what to do. A server that takes no events of the largest size is no error: compare
// MaxPayload with event.MaxSize.
func Check(ctx context.Context, cfg Config) (ServerInfo, error) {
	if err := cfg.validate(); err != nil {
		return ServerInfo{}, err
	}
	l, err := dial(ctx, &cfg, nil, func(string, error) {})
	if err != nil {
		return ServerInfo{}, err
	}
	defer l.Close()
	rtt, err := l.conn.RTT()
	if err != nil {
		return ServerInfo{}, cfg.explain(err)
	}
	return ServerInfo{
		URL:        cfg.Redacted(),
		Name:       l.conn.ConnectedServerName(),
		Version:    l.conn.ConnectedServerVersion(),
		MaxPayload: l.conn.MaxPayload(),
		RoundTrip:  rtt,
	}, nil
}
