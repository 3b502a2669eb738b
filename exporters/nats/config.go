// Package nats carries events over NATS: an embedded server, the sink that publishes
// to it or to an existing one, and the source that subscribes.
//
// Delivery is that of core NATS, at most once to each subscriber, with two additions:
// the publisher keeps what the server hasn't confirmed and sends it again after an
// outage, and everything that it gives up is counted. Events are numbered, so that a
// subscriber sees by itself what it missed and what it got twice.
package nats

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// DefaultURL is where the embedded server of an agent on the same machine listens.
const DefaultURL = nats.DefaultURL

const (
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 5 * time.Second
	// pingInterval and maxPings find a connection whose other end is gone.
	pingInterval = 10 * time.Second
	maxPings     = 2
)

// Config says how to reach a NATS server and how to log in. The fields are those of
// the --nats.* flags; files are read at each connection, so that they may be replaced.
type Config struct {
	// URL is one server or a comma-separated list of them; DefaultURL when empty.
	URL string
	// User logs in with the password in the first line of PasswordFile.
	User, PasswordFile string
	// Credentials is a .creds file with a user JWT and its seed.
	Credentials string
	// NKey is a file with the seed of a user NKey.
	NKey string
	// TLSCA is a file with the certificates that the server's must be signed by; the
	// system's when empty. TLSCert and TLSKey are the client's certificate.
	TLSCA, TLSCert, TLSKey string
	// Name is what the server's connection list shows; "peer-observer" when empty.
	Name string
	// InProcess connects to an embedded server without a socket. All but Name is
	// ignored then.
	InProcess *Server
}

// validate checks what can be checked without connecting.
func (c *Config) validate() error {
	if c.InProcess != nil {
		return nil
	}
	for _, text := range c.servers() {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			// The text may hold a password, so it isn't shown, and neither is an
			// error that quotes it.
			return errors.New("--nats.url: not a list of URLs such as nats://127.0.0.1:4222")
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return fmt.Errorf("--nats.url: unknown scheme %q (known: nats, tls, ws, wss)", u.Scheme)
		}
	}
	logins := 0
	for _, given := range []bool{c.User != "" || c.PasswordFile != "", c.Credentials != "", c.NKey != ""} {
		if given {
			logins++
		}
	}
	if logins > 1 {
		return errors.New("give only one of --nats.user with --nats.password-file, --nats.creds and --nats.nkey")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return errors.New("--nats.user and --nats.password-file belong together: give both")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--nats.tls-cert and --nats.tls-key belong together: give both")
	}
	return nil
}

// servers gives the URLs one by one.
func (c *Config) servers() []string {
	if c.URL == "" {
		return []string{DefaultURL}
	}
	var servers []string
	for text := range strings.SplitSeq(c.URL, ",") {
		text = strings.TrimSpace(text)
		if text != "" && !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		servers = append(servers, text)
	}
	return servers
}

// Redacted is the URL without passwords, for logs.
func (c *Config) Redacted() string {
	if c.InProcess != nil {
		return "the embedded server"
	}
	servers := c.servers()
	for i, text := range servers {
		u, err := url.Parse(text)
		if err != nil {
			return "the servers of --nats.url"
		}
		servers[i] = u.Redacted()
		if u.User != nil {
			if _, has := u.User.Password(); !has {
				// A user without a password is a token.
				u.User = url.User("xxxxx")
				servers[i] = u.String()
			}
		}
	}
	return strings.Join(servers, ",")
}

// options are the options that every connection has. It reads the files.
func (c *Config) options() ([]nats.Option, error) {
	name := c.Name
	if name == "" {
		name = "peer-observer"
	}
	options := []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
	}
	if c.InProcess != nil {
		return append(options, nats.InProcessServer(c.InProcess.server), nats.UserInfo(c.InProcess.user, c.InProcess.password)), nil
	}
	switch {
	case c.User != "":
		password, err := readPassword(c.PasswordFile)
		if err != nil {
			return nil, err
		}
		options = append(options, nats.UserInfo(c.User, password))
	case c.Credentials != "":
		if err := readable("--nats.creds", c.Credentials); err != nil {
			return nil, err
		}
		options = append(options, nats.UserCredentials(c.Credentials))
	case c.NKey != "":
		option, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("--nats.nkey: %w", err)
		}
		options = append(options, option)
	}
	if c.TLSCA != "" || c.TLSCert != "" {
		config, err := c.tlsConfig()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(config))
	}
	return options, nil
}

func (c *Config) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("--nats.tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--nats.tls-ca: no PEM certificate in %s", c.TLSCA)
		}
	}
	if c.TLSCert != "" {
		certificate, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("--nats.tls-cert, --nats.tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// readPassword reads the first line of a file.
func readPassword(name string) (string, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("--nats.password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", fmt.Errorf("--nats.password-file: the first line of %s is empty", name)
	}
	return line, nil
}

func readable(flag, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return file.Close()
}

// explain says what an operator can do about a failed connection.
func (c *Config) explain(err error) error {
	var unknownAuthority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var notTLS tls.RecordHeaderError
	var hint string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("no NATS server answers at %s: start it, or correct --nats.url", c.Redacted())
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrNkeysNotSupported):
		hint = "it refused the login: check --nats.user with --nats.password-file, --nats.creds or --nats.nkey"
	case errors.Is(err, nats.ErrTimeout):
		hint = "is it a NATS server, and does it want TLS (tls://) or not? Check --nats.url"
	case errors.Is(err, nats.ErrMaxConnectionsExceeded), strings.Contains(err.Error(), "maximum connections exceeded"):
		hint = "it has all the connections that it allows (its max_connections)"
	case errors.As(err, &unknownAuthority):
		hint = "its certificate is signed by somebody unknown: give the signer's certificate with --nats.tls-ca"
	case errors.As(err, &hostname):
		hint = "its certificate is for another name: use that name in --nats.url"
	case errors.Is(err, nats.ErrSecureConnRequired):
		hint = "it wants TLS: use a tls:// URL or --nats.tls-ca"
	case errors.Is(err, nats.ErrSecureConnWanted), errors.As(err, &notTLS):
		hint = "it doesn't speak TLS: use a nats:// URL without --nats.tls-ca"
	case strings.Contains(err.Error(), "certificate required"), strings.Contains(err.Error(), "bad certificate"),
		strings.Contains(err.Error(), "after TLS handshake"):
		hint = "it wants a client certificate: give --nats.tls-cert and --nats.tls-key"
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		hint = "it closed the connection at once: it may have all the connections that it allows (its max_connections), or want TLS"
	default:
		return fmt.Errorf("NATS server %s: %w", c.Redacted(), err)
	}
	return fmt.Errorf("NATS server %s: %w; %s", c.Redacted(), err, hint)
}

// A prefix is tokens of letters, digits, underscores and hyphens, each ended by a full
// stop; a subscriber may have the wildcard * as a token.
var (
	publishPrefix   = regexp.MustCompile(`^([A-Za-z0-9_-]+\.)*$`)
	subscribePrefix = regexp.MustCompile(`^(([A-Za-z0-9_-]+|\*)\.)*$`)
)

// maxPrefix bounds the length of a prefix in bytes.
const maxPrefix = 128

func validatePrefix(prefix string, pattern *regexp.Regexp) error {
	if len(prefix) > maxPrefix || !pattern.MatchString(prefix) {
		return fmt.Errorf("--nats.subject-prefix %q: want names of letters, digits, _ and -, each ended by a full stop, such as \"node1.\"", prefix)
	}
	return nil
}
