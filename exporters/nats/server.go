package nats

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// DefaultListenAddress is where the embedded server listens.
	DefaultListenAddress = "127.0.0.1:4222"
	// EmbeddedServerName is what the embedded server calls itself to clients.
	EmbeddedServerName = "peer-observer"
	// DefaultMaxConnections is how many clients the embedded server takes.
	DefaultMaxConnections = 64
	// DefaultMaxPending is how many bytes the embedded server keeps for a client
	// that doesn't read before it is disconnected.
	DefaultMaxPending = 32 << 20
	// writeDeadline is how long a client may take to read something before it is
	// disconnected.
	writeDeadline = 5 * time.Second
	// maxSubscriptions bounds the subscriptions of one client.
	maxSubscriptions = 256
	startTimeout     = 10 * time.Second
)

// ServerConfig describes the embedded server.
type ServerConfig struct {
	// ListenAddress is HOST:PORT; DefaultListenAddress when empty. Port 0 takes a
	// free one.
	ListenAddress string
	// User and PasswordFile are the login that clients need; anybody who reaches the
	// port may subscribe when they are empty.
	User, PasswordFile string
	// AllowPublish lets clients that didn't log in publish, such as extractors of
	// the existing peer-observer tools. Otherwise what is on the server comes from
	// the agent, and nobody else on the machine can forge events.
	AllowPublish bool
	// MaxConnections bounds the clients; DefaultMaxConnections when 0.
	MaxConnections int
	// MaxPending bounds the bytes kept for a client; DefaultMaxPending when 0. It
	// can't be less than the largest event.
	MaxPending int64
}

// Server is a NATS server in the process. It keeps nothing on disk, has no monitoring
// port and handles no signals.
type Server struct {
	server *server.Server
	logger *serverLogger
	// user and password are the login of connections from within the process.
	user, password string
}

// NewServer starts an embedded server. It is up when NewServer returns; the caller
// shuts it down.
func NewServer(cfg ServerConfig, logger *slog.Logger) (*Server, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	// The agent's login is good for this run only, and no configured name meets it.
	s := &Server{
		logger:   &serverLogger{logger: logger, now: time.Now},
		user:     "agent-" + rand.Text(),
		password: rand.Text(),
	}
	password := ""
	if cfg.User != "" {
		password, err = readPassword(cfg.PasswordFile)
		if err != nil {
			return nil, err
		}
	} else if ip := net.ParseIP(options.Host); options.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		logger.Warn("the embedded NATS server is open to everybody who reaches its address: set --nats.user and --nats.password-file", "address", cfg.ListenAddress)
	}
	s.grantAccess(options, cfg.User, password, cfg.AllowPublish)
	if err := probe(net.JoinHostPort(options.Host, strconv.Itoa(max(options.Port, 0)))); err != nil {
		return nil, err
	}
	s.server, err = server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	s.server.SetLoggerV2(s.logger, false, false, false)
	s.server.Start()
	if !s.server.ReadyForConnections(startTimeout) {
		s.Shutdown()
		if fatal := s.logger.fatal.Load(); fatal != nil {
			return nil, fmt.Errorf("embedded NATS server: %s (choose another port with --nats.listen-address)", *fatal)
		}
		return nil, fmt.Errorf("embedded NATS server: not ready after %v", startTimeout)
	}
	return s, nil
}

func (c *ServerConfig) options() (*server.Options, error) {
	address := c.ListenAddress
	if address == "" {
		address = DefaultListenAddress
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--nats.listen-address %q: want HOST:PORT such as %s", address, DefaultListenAddress)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("--nats.listen-address %q: the port is not a number from 0 to 65535", address)
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return nil, errors.New("--nats.user and --nats.password-file belong together: give both")
	}
	if host == "" {
		host = "0.0.0.0"
	}
	options := &server.Options{
		ServerName:      EmbeddedServerName,
		Host:            host,
		Port:            int(port),
		NoSigs:          true,
		NoSystemAccount: true,
		MaxPayload:      event.MaxSize,
		MaxPending:      c.MaxPending,
		MaxSubs:         maxSubscriptions,
		WriteDeadline:   writeDeadline,
		PingInterval:    pingInterval,
		MaxPingsOut:     maxPings,
		// A subscriber that doesn't keep up is disconnected; it never slows down
		// the agent.
		NoFastProducerStall: true,
		// The agent's own connection is one more.
		MaxConn: c.MaxConnections + 1,
	}
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	if c.MaxPending == 0 {
		options.MaxPending = DefaultMaxPending
	}
	if c.MaxConnections == 0 {
		options.MaxConn = DefaultMaxConnections + 1
	}
	if options.MaxPending < event.MaxSize || c.MaxConnections < 0 {
		return nil, fmt.Errorf("embedded NATS server: at least %d bytes pending and one connection are needed", event.MaxSize)
	}
	return options, nil
}

// grantAccess says who may do what: the agent everything; others subscribe, and publish
// if they have the password or the configuration allows it.
func (s *Server) grantAccess(options *server.Options, user, password string, allowPublish bool) {
	options.Users = []*server.User{{Username: s.user, Password: s.password}}
	if user != "" {
		options.Users = append(options.Users, &server.User{Username: user, Password: password})
		return
	}
	anybody := &server.User{Username: "anybody"}
	if !allowPublish {
		anybody.Permissions = &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{">"}}}
	}
	options.Users = append(options.Users, anybody)
	options.NoAuthUser = anybody.Username
}

// probe says clearly why an address can't be listened on; the server itself would say
// it only in its log.
func probe(address string) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	switch {
	case err == nil:
		return listener.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("embedded NATS server: %s is in use: choose another address with --nats.listen-address, or publish to the server that runs there with --nats.url=nats://%s", address, address)
	default:
		return fmt.Errorf("embedded NATS server: %w (choose another address with --nats.listen-address)", err)
	}
}

// Address is the address that the server listens on.
func (s *Server) Address() string {
	if address := s.server.Addr(); address != nil {
		return address.String()
	}
	return ""
}

// URL is what a client on this machine connects to.
func (s *Server) URL() string { return "nats://" + s.Address() }

// SlowConsumers is the number of times that a client was disconnected because it
// didn't read fast enough.
func (s *Server) SlowConsumers() int64 { return s.server.NumSlowConsumers() }

// Clients is the number of connected clients, the agent's own connection included.
func (s *Server) Clients() int { return s.server.NumClients() }

// Shutdown disconnects all clients and waits until the server is gone.
func (s *Server) Shutdown() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// serverLogger hands the server's log lines to slog. What the server calls a notice is
// detail for the operator of an agent.
type serverLogger struct {
	logger *slog.Logger
	now    func() time.Time
	fatal  atomic.Pointer[string]

	mu      sync.Mutex
	minute  time.Time
	lines   int
	dropped int
}

// maxServerLines bounds the warnings logged in a minute: clients cause them, and must
// not fill the disk.
const maxServerLines = 20

func (l *serverLogger) log(level slog.Level, format string, v []any) {
	if !l.logger.Enabled(context.Background(), level) {
		return
	}
	if level >= slog.LevelWarn && !l.admit() {
		return
	}
	l.logger.Log(context.Background(), level, "embedded NATS server", "message", fmt.Sprintf(format, v...))
}

// admit says whether one more warning may be logged in this minute.
func (l *serverLogger) admit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.minute) >= time.Minute {
		if l.dropped > 0 {
			l.logger.Warn("embedded NATS server: warnings left out of the log", "count", l.dropped)
		}
		l.minute, l.lines, l.dropped = now, 0, 0
	}
	if l.lines >= maxServerLines {
		l.dropped++
		return false
	}
	l.lines++
	return true
}

// Noticef logs at debug level, except what concerns a client that was disconnected.
func (l *serverLogger) Noticef(format string, v ...any) {
	level := slog.LevelDebug
	if strings.Contains(format, "Slow Consumer") {
		level = slog.LevelWarn
	}
	l.log(level, format, v)
}

// Warnf logs a warning, unless it is about what is as it must be: the payload limit, and
// the password of this run, which is in no file.
func (l *serverLogger) Warnf(format string, v ...any) {
	level := slog.LevelWarn
	if strings.HasPrefix(format, "Maximum payloads over") || strings.HasPrefix(format, "Plaintext passwords") {
		level = slog.LevelDebug
	}
	l.log(level, format, v)
}

// Errorf logs a warning: an error of the server is that of one client.
func (l *serverLogger) Errorf(format string, v ...any) { l.log(slog.LevelWarn, format, v) }

// Fatalf keeps the message for NewServer. The process goes on.
func (l *serverLogger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.Store(&text)
	l.logger.Error("embedded NATS server", "message", text)
}

// Debugf does nothing: the server is not asked to debug.
func (l *serverLogger) Debugf(string, ...any) {}

// Tracef does nothing: the server is not asked to trace.
func (l *serverLogger) Tracef(string, ...any) {}
