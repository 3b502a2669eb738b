package connectivity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
)

// Replies of a SOCKS5 proxy (RFC 1928).
const (
	socksSucceeded   = 0
	socksRefused     = 5
	socksVersion     = 5
	socksNoLogin     = 0
	socksConnect     = 1
	socksIPv4        = 1
	socksName        = 3
	socksIPv6        = 4
	maxSocksNameSize = 255
)

// proxyReply is what a proxy says when it can't connect.
type proxyReply byte

func (r proxyReply) Error() string {
	return fmt.Sprintf("the proxy can't connect, SOCKS reply %d", byte(r))
}

// errProxy is for a proxy that isn't there, or isn't one.
var errProxy = errors.New("no answer of the SOCKS5 proxy")

// dialProxy connects to a name by a SOCKS5 proxy. The proxy looks the name up. The
// context bounds the time.
func dialProxy(ctx context.Context, dialer *net.Dialer, proxy, host string, port uint16) (net.Conn, error) {
	conn, err := dialer.DialContext(ctx, "tcp", proxy)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProxy, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err == nil {
		err = socksRequest(conn, host, port)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// socksRequest asks a proxy for a connection.
func socksRequest(conn net.Conn, host string, port uint16) error {
	if len(host) > maxSocksNameSize {
		return errors.New("name too long for a SOCKS5 proxy")
	}
	if _, err := conn.Write([]byte{socksVersion, 1, socksNoLogin}); err != nil {
		return fmt.Errorf("%w: %w", errProxy, err)
	}
	var choice [2]byte
	if _, err := io.ReadFull(conn, choice[:]); err != nil {
		return fmt.Errorf("%w: %w", errProxy, err)
	}
	if choice != [2]byte{socksVersion, socksNoLogin} {
		return fmt.Errorf("%w: it wants a login, or is none", errProxy)
	}
	request := []byte{socksVersion, socksConnect, 0, socksName, byte(len(host))}
	request = append(request, host...)
	request = append(request, byte(port>>8), byte(port))
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("%w: %w", errProxy, err)
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return fmt.Errorf("%w: %w", errProxy, err)
	}
	switch {
	case head[0] != socksVersion:
		return errProxy
	case head[1] != socksSucceeded:
		return proxyReply(head[1])
	}
	// The address that the proxy connected from.
	var size int
	switch head[3] {
	case socksIPv4:
		size = net.IPv4len
	case socksIPv6:
		size = net.IPv6len
	case socksName:
		var n [1]byte
		if _, err := io.ReadFull(conn, n[:]); err != nil {
			return fmt.Errorf("%w: %w", errProxy, err)
		}
		size = int(n[0])
	default:
		return errProxy
	}
	if _, err := io.ReadFull(conn, make([]byte, size+2)); err != nil {
		return fmt.Errorf("%w: %w", errProxy, err)
	}
	return nil
}
