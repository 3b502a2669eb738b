package p2p

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// announceAddresses connects to the node as an honest peer and sends it one address of
// each network (BIP155). It returns their texts.
func announceAddresses(t *testing.T, n *regtest.Node, now time.Time) []string {
	t.Helper()
	conn, err := net.Dial("tcp", n.P2PAddress())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	peer := newTransportV1(newStream(conn, -1), wire.TestNet)
	peer.setLimit(maxPayload)
	version, err := versionPayload("/test/")
	if err != nil {
		t.Fatal(err)
	}
	send := func(kind string, payload []byte) {
		if err := peer.send(kind, payload); err != nil {
			t.Fatal(err)
		}
	}
	send("version", version)
	for m := (message{}); m.kind != "verack"; {
		if m, err = peer.receive(); err != nil {
			t.Fatal(err)
		}
		if m.kind == "version" {
			send("sendaddrv2", nil)
			send("verack", nil)
		}
	}
	// Bytes 1, 2, 3 … as keys; the texts were computed with Python's base64 and
	// hashlib.sha3_256.
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i + 1)
	}
	addresses := []struct {
		network byte
		address []byte
		text    string
	}{
		{1, []byte{93, 184, 216, 34}, "ipv4 93.184.216.34"},
		{2, net.ParseIP("2a00:1450:4001:81b::200e"), "ipv6 2a00:1450:4001:81b::200e"},
		{4, key, "torv3 " + torV3Text},
		{5, key, "i2p " + i2pText},
		{6, net.ParseIP("fc32:17ea:e415:c3bf:9808:149d:b5a2:c9aa"), "cjdns fc32:17ea:e415:c3bf:9808:149d:b5a2:c9aa"},
	}
	payload := []byte{byte(len(addresses))}
	var texts []string
	for _, a := range addresses {
		payload = binary.LittleEndian.AppendUint32(payload, uint32(now.Unix()))
		payload = append(payload, 9) // services, a CompactSize
		payload = append(payload, a.network, byte(len(a.address)))
		payload = append(payload, a.address...)
		port := uint16(8333)
		if a.network == 5 {
			port = 0
		}
		payload = binary.BigEndian.AppendUint16(payload, port)
		texts = append(texts, a.text)
	}
	send("addrv2", payload)
	return texts
}

const (
	torV3Text = "aebagbafaydqqcikbmga2dqpcaireeyuculbogazdinryhi6d4qcmeqd.onion"
	i2pText   = "aebagbafaydqqcikbmga2dqpcaireeyuculbogazdinryhi6d4qa.b32.i2p"
)
