package connectivity

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// Result is how a check ended.
type Result string

// The results; they are label values.
const (
	// ResultSuccess: a node of the chain that completed the handshake.
	ResultSuccess Result = "success"
	// ResultRefused: nobody listens there.
	ResultRefused Result = "refused"
	// ResultUnreachable: there is no way, or the host isn't there.
	ResultUnreachable Result = "unreachable"
	// ResultConnectTimeout: no answer to the attempt to connect.
	ResultConnectTimeout Result = "connect_timeout"
	// ResultHandshakeTimeout: connected, but no handshake in time.
	ResultHandshakeTimeout Result = "handshake_timeout"
	// ResultClosed: connected, and closed by the other end before the handshake was
	// complete.
	ResultClosed Result = "closed"
	// ResultNotBitcoin: something else listens there.
	ResultNotBitcoin Result = "not_bitcoin"
	// ResultOtherChain: a node of another chain.
	ResultOtherChain Result = "other_chain"
	// ResultProtocol: it speaks the protocol, but not as a node does in a handshake.
	ResultProtocol Result = "protocol"
	// ResultTooMuch: more came than a handshake has.
	ResultTooMuch Result = "too_much_data"
	// ResultProxy: the proxy doesn't work, which says nothing of the address.
	ResultProxy Result = "proxy_failed"
	// ResultLocal: this machine could not try, which says nothing of the address.
	ResultLocal Result = "local_error"
)

// aboutTarget is whether a result says something of the address.
func (r Result) aboutTarget() bool { return r != ResultProxy && r != ResultLocal }

// outcome is what a check found out.
type outcome struct {
	result Result
	// transport is that of the last handshake: 1 or 2, 0 without a connection.
	transport int
	// fellBack says that v2 was tried first, and failed.
	fellBack bool
	connect  time.Duration
	// handshake is how long all after connecting took, with both transports.
	handshake time.Duration
	node      nodeInfo
}

// checker dials.
type checker struct {
	cfg    *Config
	dialer net.Dialer
}

// check dials a target and tries a handshake.
func (c *checker) check(ctx context.Context, a *announcement) (o outcome) {
	switch c.cfg.Transport {
	case TransportV1:
		c.attempt(ctx, a, &o, 1)
		return o
	case TransportV2:
		c.attempt(ctx, a, &o, 2)
		return o
	}
	if a.services&serviceP2PV2 == 0 {
		c.attempt(ctx, a, &o, 1)
		return o
	}
	c.attempt(ctx, a, &o, 2)
	if o.result == ResultClosed || o.result == ResultNotBitcoin || o.result == ResultOtherChain {
		// A node without BIP324 takes the key for noise and closes; anybody may have
		// announced that it has it.
		o.fellBack = true
		c.attempt(ctx, a, &o, 1)
	}
	return o
}

// attempt connects and tries a handshake on one transport.
func (c *checker) attempt(ctx context.Context, a *announcement, o *outcome, transport int) {
	began := time.Now()
	conn, err := c.dial(ctx, a)
	o.connect = time.Since(began)
	if err != nil {
		o.result = dialResult(err)
		return
	}
	defer conn.Close()
	o.transport = transport
	began = time.Now()
	o.node, err = c.talk(ctx, conn, transport)
	o.handshake += time.Since(began)
	o.result = handshakeResult(err)
}

// dial connects, by a proxy where the network needs one. Names are never looked up here.
func (c *checker) dial(ctx context.Context, a *announcement) (net.Conn, error) {
	ip, ok := a.address.IP()
	if ok {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
		defer cancel()
		return c.dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(ip, a.port).String())
	}
	proxy := c.cfg.TorProxy
	if a.address.Network == netgroup.I2P {
		proxy = c.cfg.I2PProxy
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ProxyTimeout)
	defer cancel()
	return dialProxy(ctx, &c.dialer, proxy, a.address.String(), a.port)
}

// talk does a handshake within the bounds of time and bytes.
func (c *checker) talk(ctx context.Context, conn net.Conn, transport int) (nodeInfo, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(c.cfg.HandshakeTimeout)); err != nil {
		return nodeInfo{}, err
	}
	if transport == 1 {
		return handshake(newSessionV1(conn, c.cfg.Network), c.cfg.UserAgent)
	}
	s, err := openV2(conn, c.cfg.Network)
	if err != nil {
		return nodeInfo{}, err
	}
	return handshake(s, c.cfg.UserAgent)
}

// dialResult is why connecting failed.
func dialResult(err error) Result {
	var reply proxyReply
	switch {
	case errors.As(err, &reply):
		if reply == socksRefused {
			return ResultRefused
		}
		// Tor also says general failure for a service that is down.
		return ResultUnreachable
	case errors.Is(err, errProxy) && !isTimeout(err):
		return ResultProxy
	case isTimeout(err), errors.Is(err, syscall.ETIMEDOUT):
		return ResultConnectTimeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return ResultRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ResultUnreachable
	default:
		return ResultLocal
	}
}

// handshakeResult is how a handshake ended.
func handshakeResult(err error) Result {
	switch {
	case err == nil:
		return ResultSuccess
	case errors.Is(err, errOtherNetwork):
		return ResultOtherChain
	case errors.Is(err, errNotBitcoin):
		return ResultNotBitcoin
	case errors.Is(err, errTooMuch):
		return ResultTooMuch
	case errors.Is(err, errProtocol):
		return ResultProtocol
	case isTimeout(err):
		return ResultHandshakeTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ResultClosed
	default:
		return ResultLocal
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
