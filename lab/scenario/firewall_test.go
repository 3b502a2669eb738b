package scenario

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// In a network namespace: nobody from elsewhere gets through to a port that is closed, the
// host itself does, open connections go on, and all is as before once it is open again.
func TestFirewall(t *testing.T) {
	if os.Getenv(envInside) == "" {
		inNamespace(t)
		return
	}
	if err := OpenNamespace(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	address := listener.Addr().(*net.TCPAddr).AddrPort()
	dial := func(from netip.Addr, patience time.Duration) (net.Conn, error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: patience}
		return d.DialContext(t.Context(), "tcp4", address.String())
	}
	elsewhere, host := source(7, 0x0102), netip.MustParseAddr("127.0.0.1")
	echo := func(conn net.Conn) {
		t.Helper()
		// More than fits into one packet.
		sent := make([]byte, 200_000)
		go func() { _, _ = conn.Write(sent) }()
		if _, err := io.ReadFull(conn, make([]byte, len(sent))); err != nil {
			t.Errorf("an open connection: %v", err)
		}
	}

	before, err := dial(elsewhere, handshakeTime)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	wall, err := closePort(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := dial(elsewhere, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
		t.Errorf("through the firewall: %v, %v, want no answer", conn, err)
	}
	echo(before)
	local, err := dial(host, handshakeTime)
	if err != nil {
		t.Errorf("from the host itself: %v", err)
	} else {
		echo(local)
		_ = local.Close()
	}
	if err := wall.open(); err != nil {
		t.Fatal(err)
	}
	after, err := dial(elsewhere, handshakeTime)
	if err != nil {
		t.Fatal(err)
	}
	echo(after)
	_ = after.Close()
}
