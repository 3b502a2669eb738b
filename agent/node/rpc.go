package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// MaxResponseBytes bounds one RPC response. The largest that a healthy node
// gives is getrawaddrman on a full address manager, some 20 MB.
const MaxResponseBytes = 64 << 20

const (
	dialTimeout = 5 * time.Second
	// A node that shuts down waits up to 30 s for connections on which nothing was asked
	// yet (StopHTTPServer in Core's httpserver.cpp, from version 32 on), and the transport
	// sometimes keeps one that it opened in vain. It is also sooner than Core closes
	// connections that are idle (-rpcservertimeout, 30 s), so nothing is written into one
	// that is closing.
	idleTimeout = 2 * time.Second
)

// ClientOptions say where a node's JSON-RPC server is and how to log in: either
// with a cookie file or with a user and a password file.
type ClientOptions struct {
	// Address is the HOST:PORT of the RPC server.
	Address string
	// CookieFile is the path of the node's .cookie. It is read before the
	// first call, when the file changes, and after a 401.
	CookieFile string
	// User with PasswordFile, or else with Password, is used instead of a cookie
	// where User is set. One trailing newline of the file is not part of the
	// password. Password is for what a node's own configuration says
	// (rpcpassword), never for a flag: command lines are public.
	User         string
	PasswordFile string
	Password     string
	// Wallet selects a wallet by name (the /wallet/NAME endpoint); empty for
	// the node itself.
	Wallet string
	// MaxResponseBytes is the largest response accepted, at most and by default
	// the constant MaxResponseBytes.
	MaxResponseBytes int64
}

// Client calls one node's JSON-RPC server over HTTP with keep-alive. It may be
// used by several goroutines at once. It never follows redirects and never
// uses a proxy, as either could hand the credentials to somebody else.
type Client struct {
	endpoint    string
	address     string
	limit       int64
	credentials *credentials
	http        *http.Client
	transport   *http.Transport
	nextID      atomic.Uint64
}

// NewClient checks the options and returns a client; it neither connects nor
// reads a file yet, so a node that is still to start is fine.
func NewClient(o ClientOptions) (*Client, error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("RPC address %q is not HOST:PORT (flag --rpc.address)", o.Address)
	}
	creds, err := newCredentials(o)
	if err != nil {
		return nil, err
	}
	limit := o.MaxResponseBytes
	if limit <= 0 || limit > MaxResponseBytes {
		limit = MaxResponseBytes
	}
	path := "/"
	if o.Wallet != "" {
		path = "/wallet/" + url.PathEscape(o.Wallet)
	}
	transport := &http.Transport{
		Proxy:               nil,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
	}
	return &Client{
		endpoint:    "http://" + net.JoinHostPort(host, port) + path,
		address:     o.Address,
		limit:       limit,
		credentials: creds,
		transport:   transport,
		http: &http.Client{
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}, nil
}

// Address is the HOST:PORT the client calls.
func (c *Client) Address() string { return c.address }

// Close drops idle connections. Calls under way are not disturbed.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Call calls method with params (nil, a slice for positional or a map or struct
// for named parameters) and decodes the result into result, a pointer, or drops
// it where result is nil. ctx bounds the whole call.
//
// The error is, or wraps, one of: ErrCredentials, ErrUnauthorized,
// ErrUnreachable, ErrResponseTooLarge, *RPCError (which is ErrMethodNotFound or
// ErrWarmingUp where it has their code), *HTTPError, or ctx's error.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(request{
		JSONRPC: "1.0", ID: c.nextID.Add(1), Method: method, Params: params,
	})
	if err != nil {
		return fmt.Errorf("rpc %s: encoding parameters: %w", method, err)
	}
	login, err := c.credentials.current()
	if err != nil {
		return fmt.Errorf("rpc %s: %w", method, err)
	}
	raw, err := c.post(ctx, login, body)
	if errors.Is(err, ErrUnauthorized) {
		// A node that restarted wrote a new cookie, perhaps after ours was
		// read. The same credentials are not tried twice: the node delays
		// every failed login by 250 ms.
		fresh, readErr := c.credentials.reread()
		if readErr != nil {
			return fmt.Errorf("rpc %s: %w", method, readErr)
		}
		if fresh != login {
			raw, err = c.post(ctx, fresh, body)
		}
	}
	if err != nil {
		return fmt.Errorf("rpc %s: %w", method, err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(raw, result); err != nil {
		return fmt.Errorf("rpc %s: decoding the result: %w", method, err)
	}
	return nil
}

type request struct {
	JSONRPC string `json:"jsonrpc"`
	ID      uint64 `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type response struct {
	Result json.RawMessage `json:"result"`
	Error  *RPCError       `json:"error"`
}

// post sends one request and returns the raw result.
func (c *Client) post(ctx context.Context, login login, body []byte) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(login.user, login.password)
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no answer from %s: %w", c.address, ctx.Err())
		}
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err // without the URL: the address is named below
		}
		return nil, &unreachableError{address: c.address, err: err}
	}
	defer resp.Body.Close()

	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return nil, c.credentials.refused(c.address)
	case http.StatusForbidden:
		return nil, &HTTPError{Status: resp.StatusCode, Address: c.address,
			Hint: "the node does not accept RPC from this address: see -rpcallowip and -rpcwhitelist"}
	}
	data, err := readBounded(resp, c.limit)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("answer from %s cut short: %w", c.address, ctx.Err())
		}
		if errors.Is(err, ErrResponseTooLarge) {
			return nil, err
		}
		return nil, &unreachableError{address: c.address, err: err}
	}
	// RPC errors come as JSON with status 500, 404 or 400 (httprpc.cpp).
	var decoded response
	if jsonErr := json.Unmarshal(data, &decoded); jsonErr != nil {
		if resp.StatusCode == http.StatusOK {
			return nil, fmt.Errorf("answer from %s is not JSON-RPC (is that a Bitcoin node's RPC port?): %w", c.address, jsonErr)
		}
		hint := excerpt(data)
		if resp.StatusCode == http.StatusServiceUnavailable {
			hint = "the node's RPC work queue is full: see -rpcworkqueue and -rpcthreads"
		}
		return nil, &HTTPError{Status: resp.StatusCode, Address: c.address, Hint: hint}
	}
	if decoded.Error != nil {
		return nil, decoded.Error
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &HTTPError{Status: resp.StatusCode, Address: c.address, Hint: excerpt(data)}
	}
	return decoded.Result, nil
}

// readBounded reads the body of resp, at most limit bytes. Memory grows with
// what arrives: a large Content-Length alone allocates nothing.
func readBounded(resp *http.Response, limit int64) ([]byte, error) {
	tooLarge := func() error {
		return fmt.Errorf("%w (limit %d bytes)", ErrResponseTooLarge, limit)
	}
	if resp.ContentLength > limit {
		return nil, tooLarge()
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tooLarge()
	}
	return data, nil
}

// excerpt makes a short printable line of a server's text.
func excerpt(data []byte) string {
	const most = 120
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, string(data[:min(len(data), 4*most)]))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

// Version is what a node says of itself in getnetworkinfo.
type Version struct {
	// Number is CLIENT_VERSION: 10000*major + 100*minor + build (290403).
	Number int
	// Subversion is the BIP14 user agent, such as /Satoshi:29.0.0/.
	Subversion string
	// Protocol is the P2P protocol version, such as 70016.
	Protocol int
}

// Major is the major version: 29 for 29.4.3.
func (v Version) Major() int { return v.Number / 10000 }

// IsKnots reports whether the node names itself Bitcoin Knots.
func (v Version) IsKnots() bool { return strings.Contains(v.Subversion, "/Knots:") }

// Version asks the node for its version (RPC getnetworkinfo).
func (c *Client) Version(ctx context.Context) (Version, error) {
	var info struct {
		Version         int    `json:"version"`
		Subversion      string `json:"subversion"`
		ProtocolVersion int    `json:"protocolversion"`
	}
	if err := c.Call(ctx, "getnetworkinfo", nil, &info); err != nil {
		return Version{}, err
	}
	return Version{Number: info.Version, Subversion: info.Subversion, Protocol: info.ProtocolVersion}, nil
}
