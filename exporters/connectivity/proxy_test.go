package connectivity

import (
	"net"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// A proxy that isn't there, or isn't one, says nothing of the address.
func TestBrokenProxy(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if conn, err := other.Accept(); err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	address, ok := netgroup.Parse([]byte(onionName("x")))
	if !ok {
		t.Fatal("no onion name")
	}
	for _, proxy := range []string{gone, other.Addr().String()} {
		c := checker{cfg: &Config{TorProxy: proxy, ProxyTimeout: time.Minute, HandshakeTimeout: time.Minute}}
		o := c.check(t.Context(), &announcement{target: target{address, 8333}})
		if o.result != ResultProxy || o.transport != 0 || o.result.aboutTarget() {
			t.Errorf("%s: %+v", proxy, o)
		}
	}
	_ = other.Close()
	<-served
}
