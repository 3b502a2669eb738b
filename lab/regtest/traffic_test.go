package regtest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestTrafficReachesEveryNode(t *testing.T) {
	nodes := NetworkForTest(t, 2, Config{V2: true})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		fast := pace{
			meanTransactionGap: 50 * time.Millisecond,
			blockGap:           [2]time.Duration{time.Second, 2 * time.Second},
			addressGap:         [2]time.Duration{time.Second, 2 * time.Second},
		}
		failed, err := traffic(ctx, fast, nodes)
		if err != nil {
			err = fmt.Errorf("%d calls failed, the last with: %w", failed, err)
		}
		done <- err
	}()

	start := make([]int, len(nodes))
	for i, n := range nodes {
		if err := n.Call(t.Context(), "getblockcount", nil, &start[i]); err != nil {
			t.Error(err)
		}
	}
	err := Eventually(t.Context(), func() error {
		addresses := uint64(0)
		for i, n := range nodes {
			var blocks int
			if err := n.Call(t.Context(), "getblockcount", nil, &blocks); err != nil {
				return err
			}
			if blocks <= start[i]+2 {
				return fmt.Errorf("node %d has %d blocks after %d", i, blocks, start[i])
			}
			peers, err := n.Peers(t.Context())
			if err != nil {
				return err
			}
			for _, peer := range peers {
				addresses += peer.BytesRecvByMsg["addrv2"]
				if peer.BytesRecvByMsg["tx"] == 0 {
					return fmt.Errorf("node %d has received no transaction", i)
				}
			}
		}
		if addresses == 0 {
			return fmt.Errorf("no address was gossiped")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAddressPayloadIsBIP155(t *testing.T) {
	got := addrv2Payload(time.Unix(0x01020304, 0), netip.MustParseAddr("250.1.2.3"))
	// Written by hand from BIP155: count, time, services, network, length, address, port.
	want := []byte{1, 4, 3, 2, 1, 9, 1, 4, 250, 1, 2, 3, 0x20, 0x8d}
	if string(got) != string(want) {
		t.Errorf("payload % x, want % x", got, want)
	}
}
