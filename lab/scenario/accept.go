package scenario

import (
	"context"
	"fmt"
	"net"
	"time"
)

// accept has the node connect to a scripted peer.
func (t *Target) accept(ctx context.Context, who persona) (*peer, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	if err := listener.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return nil, err
	}
	// The call returns when the node is connected: the kernel accepts for the listener.
	if err := t.RPC.Call(ctx, "addnode", []any{listener.Addr().String(), "onetry", false}, nil); err != nil {
		return nil, fmt.Errorf("telling the node to connect: %w", err)
	}
	conn, err := listener.Accept()
	if err != nil {
		return nil, fmt.Errorf("waiting for the node to connect: %w", err)
	}
	return newPeer(conn, who)
}
