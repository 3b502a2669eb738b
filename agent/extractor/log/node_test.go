package log

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// regtestMagic begins a message on regtest (v1 transport).
const regtestMagic = wire.TestNet

// stranger is a peer that sends what it likes.
type stranger struct {
	t    *testing.T
	conn net.Conn
}

// meet connects to a node, and shakes hands if asked.
func meet(t *testing.T, n *regtest.Node, handshake bool) *stranger {
	t.Helper()
	conn, err := net.Dial("tcp", n.P2PAddress())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	s := &stranger{t, conn}
	if handshake {
		s.message("version", versionPayload(t))
		s.message("verack", nil)
		// The node's verack: from here on it takes our messages.
		s.waitFor("verack")
	}
	return s
}

func versionPayload(t *testing.T) []byte {
	t.Helper()
	address := wire.NewNetAddressIPPort(net.IPv4(127, 0, 0, 1), 0, 0)
	version := wire.NewMsgVersion(address, address, uint64(time.Now().UnixNano()), 0)
	version.ProtocolVersion = 70016
	version.Services = wire.SFNodeNetwork | wire.SFNodeWitness
	version.UserAgent = "/stranger:1/"
	var payload strings.Builder
	must(t, version.BtcEncode(&payload, 70016, wire.BaseEncoding))
	return []byte(payload.String())
}

// framed is a v1 message. Checksum and length are right unless changed afterwards.
func framed(messageType string, payload []byte) []byte {
	header := make([]byte, 24)
	binary.LittleEndian.PutUint32(header, uint32(regtestMagic))
	copy(header[4:16], messageType)
	binary.LittleEndian.PutUint32(header[16:], uint32(len(payload)))
	copy(header[20:], chainhash.DoubleHashB(payload)[:4])
	return append(header, payload...)
}

func (s *stranger) message(messageType string, payload []byte) { s.raw(framed(messageType, payload)) }

func (s *stranger) raw(data []byte) {
	s.t.Helper()
	// The node may have hung up by now.
	if _, err := s.conn.Write(data); err != nil && !errors.Is(err, net.ErrClosed) {
		s.t.Logf("writing: %v", err)
	}
}

func (s *stranger) waitFor(messageType string) {
	s.t.Helper()
	must(s.t, s.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		header := make([]byte, 24)
		if _, err := io.ReadFull(s.conn, header); err != nil {
			s.t.Fatalf("waiting for %s: %v", messageType, err)
		}
		if _, err := io.CopyN(io.Discard, s.conn, int64(binary.LittleEndian.Uint32(header[16:]))); err != nil {
			s.t.Fatalf("waiting for %s: %v", messageType, err)
		}
		if strings.TrimRight(string(header[4:16]), "\x00") == messageType {
			return
		}
	}
}

// known counts the entries of each template so far.
func (r *rig) known() map[eventpb.LogTemplate]int {
	counts := map[eventpb.LogTemplate]int{}
	for _, e := range r.all() {
		if k := e.GetLogExtractor().GetKnownLogMessage(); k != nil {
			counts[k.GetTemplate()]++
		}
	}
	return counts
}

// seen waits for an entry of a template and gives the first.
func (r *rig) seen(template eventpb.LogTemplate) *eventpb.KnownLogMessage {
	r.t.Helper()
	var found *eventpb.KnownLogMessage
	r.eventually(func() error {
		for _, e := range r.all() {
			if k := e.GetLogExtractor().GetKnownLogMessage(); k.GetTemplate() == template {
				found = k
				return nil
			}
		}
		return fmt.Errorf("no entry of %v", template)
	})
	return found
}

// TestRealNode makes a real node log what attacks and honest traffic make it log, in
// each format that it has, and holds the events against the file.
func TestRealNode(t *testing.T) {
	for name, args := range map[string][]string{
		"plain":   {"-logtimemicros=0"},
		"micros":  {"-logips=1"},
		"threads": {"-logthreadnames=1"},
		"all":     {"-logthreadnames=1", "-logsourcelocations=1", "-loglevelalways=1", "-logips=1"},
	} {
		t.Run(name, func(t *testing.T) { testRealNode(t, args) })
	}
}

func testRealNode(t *testing.T, args []string) {
	dir := t.TempDir()
	config := regtest.Config{
		Dir:   dir,
		V2:    true,
		Debug: []string{"1"},
		Args:  append([]string{"-peerbloomfilters=0", "-test=addrman"}, args...),
	}
	path := dir + "/regtest/debug.log"
	r := follow(t, path, nil)
	r.downFor("doesn't exist yet")
	n := regtest.ForTest(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	s := meet(t, n, true)
	wrongSum := framed("ping", []byte("12345678"))
	wrongSum[20] ^= 0xff
	s.raw(wrongSum)
	s.message("foobar", nil)
	s.message("getaddr", nil)
	s.message("getaddr", nil)
	s.message("pong", []byte("12345678"))
	s.message("inv", []byte{0xfd, 0xff}) // cut short
	s.message("filterload", []byte{1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	meet(t, n, true).message("wtxidrelay", nil)
	oversize := framed("tx", nil)
	binary.LittleEndian.PutUint32(oversize[16:], 5_000_000)
	meet(t, n, true).raw(oversize)
	wrongMagic := framed("version", versionPayload(t))
	binary.LittleEndian.PutUint32(wrongMagic, uint32(wire.MainNet))
	meet(t, n, false).raw(wrongMagic)
	// Closing with the node's messages unread would be a reset instead.
	must(t, meet(t, n, true).conn.(*net.TCPConn).CloseWrite())
	obsolete := versionPayload(t)
	binary.LittleEndian.PutUint32(obsolete, 209)
	meet(t, n, false).message("version", obsolete)

	hashes, err := n.Mine(ctx, 3)
	must(t, err)
	must(t, n.Call(ctx, "invalidateblock", []any{hashes[2]}, nil))
	must(t, n.Call(ctx, "addpeeraddress", []any{"1.2.3.4", 8333, true}, nil))
	must(t, n.Call(ctx, "setban", []any{"127.0.0.1", "add"}, nil))
	meet(t, n, false)
	r.seen(eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_BANNED)
	must(t, n.Call(ctx, "clearbanned", nil, nil))

	version, err := n.RPC().Version(ctx)
	must(t, err)
	if !version.IsKnots() {
		// Bitcoin Knots lets local peers use bloom filters.
		r.seen(eventpb.LogTemplate_LOG_TEMPLATE_BLOOM_NOT_OFFERED)
	}
	for _, template := range []eventpb.LogTemplate{
		eventpb.LogTemplate_LOG_TEMPLATE_NODE_STARTED,
		eventpb.LogTemplate_LOG_TEMPLATE_NETWORK_ACTIVE,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_ACCEPTED,
		eventpb.LogTemplate_LOG_TEMPLATE_NEW_PEER,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_CHECKSUM,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_OVERSIZE,
		eventpb.LogTemplate_LOG_TEMPLATE_RECEIVE_FAILED,
		eventpb.LogTemplate_LOG_TEMPLATE_V2_WRONG_MAGIC,
		eventpb.LogTemplate_LOG_TEMPLATE_UNKNOWN_MESSAGE_TYPE,
		eventpb.LogTemplate_LOG_TEMPLATE_GETADDR_REPEATED,
		eventpb.LogTemplate_LOG_TEMPLATE_PONG_PROBLEM,
		eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_EXCEPTION,
		eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED,
		eventpb.LogTemplate_LOG_TEMPLATE_SOCKET_CLOSED,
		eventpb.LogTemplate_LOG_TEMPLATE_OBSOLETE_VERSION,
		eventpb.LogTemplate_LOG_TEMPLATE_LEFT_INITIAL_BLOCK_DOWNLOAD,
		eventpb.LogTemplate_LOG_TEMPLATE_UPDATE_TIP,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECT_BLOCK_TIME,
		eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECT_BLOCK_TIME,
		eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_DISCONNECTED,
		eventpb.LogTemplate_LOG_TEMPLATE_INVALID_CHAIN_FOUND,
		eventpb.LogTemplate_LOG_TEMPLATE_INVALID_CHAIN_CURRENT_BEST,
		eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_ADDED_NEW,
		eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_MOVED_TO_TRIED,
	} {
		r.seen(template)
	}
	if invalid := r.seen(eventpb.LogTemplate_LOG_TEMPLATE_INVALID_CHAIN_FOUND); invalid.GetBlockHash() != hashes[2] || invalid.GetHeight() != 3 {
		t.Errorf("the invalid block is %s at 3, and the event says %v", hashes[2], invalid)
	}
	var connected []string
	for _, e := range r.all() {
		if c := e.GetLogExtractor().GetBlockConnectedLog(); c != nil && !c.GetEnqueuing() && c.GetBlockHeight() > 0 {
			connected = append(connected, c.GetBlockHash())
		}
	}
	if !slices.Equal(connected, hashes) {
		t.Errorf("connected %v, want %v", connected, hashes)
	}

	must(t, n.Restart(ctx))
	r.seen(eventpb.LogTemplate_LOG_TEMPLATE_SHUTDOWN_DONE)
	r.eventually(func() error {
		if runs := r.known()[eventpb.LogTemplate_LOG_TEMPLATE_NODE_STARTED]; runs != 2 {
			return fmt.Errorf("%d runs", runs)
		}
		return nil
	})
	r.againstTheFile(t, path)

	must(t, os.Truncate(path, 0))
	r.expectLost(reasonTruncated, 1)
	before := len(r.all())
	must(t, n.Call(ctx, "reconsiderblock", []any{hashes[2]}, nil))
	r.eventually(func() error {
		for _, e := range r.all()[before:] {
			if k := e.GetLogExtractor().GetKnownLogMessage(); k.GetTemplate() == eventpb.LogTemplate_LOG_TEMPLATE_UPDATE_TIP {
				return nil
			}
		}
		return errors.New("no new tip after the truncation")
	})
}

// againstTheFile waits until every entry of the file is an event, and holds the parts
// of each against its line.
func (r *rig) againstTheFile(t *testing.T, path string) {
	t.Helper()
	r.eventually(func() error {
		file, err := os.ReadFile(path)
		must(t, err)
		var lines []string
		for line := range strings.Lines(string(file)) {
			if line = strings.TrimSuffix(line, "\n"); line != "" {
				lines = append(lines, line)
			}
		}
		events := r.all()
		if len(events) != len(lines) {
			return fmt.Errorf("%d events of %d lines", len(events), len(lines))
		}
		for i, e := range events {
			l := e.GetLogExtractor()
			message := l.GetUnknownLogMessage().GetRawMessage() + l.GetKnownLogMessage().GetRawMessage()
			if i := strings.Index(lines[i], "key: Authorization val: "); i > 0 {
				// The node logs the RPC password, and the event doesn't have it.
				if !strings.HasSuffix(message, "key: Authorization [removed]") {
					t.Errorf("the message with the RPC password became %q", message)
				}
				continue
			}
			if l.GetLogTimestamp() == 0 || !strings.HasSuffix(lines[i], message) || l.GetLogLineBytes() != uint64(len(lines[i])) {
				t.Fatalf("line %q became %v", lines[i], l)
			}
			if strings.HasPrefix(message, "[") && !strings.HasPrefix(message, "[snapshot]") {
				t.Errorf("a part of the prefix is left in the message of %q", lines[i])
			}
		}
		return nil
	})
}
