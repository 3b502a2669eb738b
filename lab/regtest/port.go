package regtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that Linux gives to outgoing
// connections (net.ipv4.ip_local_port_range, from 32768), so that no connection
// grabs one between our look and the node's bind.
const (
	firstPort = 12000
	lastPort  = 32000
)

// freePorts returns n different loopback TCP ports that nobody listens on now.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	for range 200 {
		if len(ports) == n {
			return ports, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := net.Listen("tcp4", loopback(port))
		if err != nil {
			continue
		}
		listeners = append(listeners, listener)
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("finding %d free loopback ports: %w", n, errNoPort)
}

var errNoPort = errors.New("200 attempts failed")

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
