package p2p

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

const (
	blockHeaderSize = 80
	// inventoryBlock is the type by which Bitcoin Core announces blocks.
	inventoryBlock    = 2
	inventoryItemSize = 4 + chainhash.HashSize
)

// handle answers and publishes one message of the node. A message that can't be
// decoded is counted and ends nothing. The error is that of the connection.
func (l *link) handle(m message) error {
	var err error
	switch m.kind {
	case "ping":
		// Without a nonce it's from before BIP31 and wants no answer.
		if len(m.payload) < 8 {
			return nil
		}
		return l.transport.send("pong", m.payload[:8])
	case "getheaders":
		// We have none. Without an answer the node would wait for one.
		return l.transport.send("headers", []byte{0})
	case "pong":
		l.handlePong(m.payload)
	case "feefilter":
		err = l.handleFeeFilter(m.payload)
	case "addr":
		err = l.publish(field.P2pExtractorAddressAnnouncement, field.AddressAnnouncementAddresses, m.payload, l.transcoder.AppendAddresses)
	case "addrv2":
		err = l.publish(field.P2pExtractorAddressAnnouncement, field.AddressAnnouncementAddresses, m.payload, l.transcoder.AppendAddressesV2)
	case "inv":
		if err = l.publish(field.P2pExtractorInventoryAnnouncement, field.InventoryAnnouncementInventory, m.payload, l.transcoder.AppendInventory); err == nil {
			return l.askForAnnounced(m.payload)
		}
	case "headers":
		if l.isAnswer(m.payload) {
			return nil
		}
		err = l.publishBlocks(eventpb.BlockAnnouncement_VIA_HEADERS, m.payload, l.transcoder.AppendHeaders)
	case "cmpctblock":
		err = l.publishBlocks(eventpb.BlockAnnouncement_VIA_COMPACT_BLOCK, m.payload, l.appendHeader)
	}
	if err != nil {
		l.source.counters.malformed.Add(1)
		l.logger.Debug("message of the node can't be decoded", "message", m.kind, "size", len(m.payload), "err", err)
	}
	return nil
}

// appender appends the elements of a payload as fields num; it returns how many.
type appender func(dst []byte, num protowire.Number, payload []byte) ([]byte, int, error)

// publish publishes an announcement that is one list of elements.
func (l *link) publish(announcement, list protowire.Number, payload []byte, appendTo appender) error {
	l.buffer.Reset()
	grown, count, err := appendTo(l.buffer.Grow(), list, payload)
	if err != nil || count == 0 {
		return err
	}
	l.buffer.SetGrown(grown)
	l.emitBuffer(announcement)
	return nil
}

// publishBlocks publishes announced headers.
func (l *link) publishBlocks(via eventpb.BlockAnnouncement_Via, payload []byte, appendTo appender) error {
	l.buffer.Reset()
	dst := event.AppendVarintField(l.buffer.Grow(), field.BlockAnnouncementVia, uint64(via))
	grown, count, err := appendTo(dst, field.BlockAnnouncementHeaders, payload)
	if err != nil || count == 0 {
		return err
	}
	l.buffer.SetGrown(grown)
	l.emitBuffer(field.P2pExtractorBlockAnnouncement)
	return nil
}

// appendHeader is an appender for messages that begin with a block header.
func (l *link) appendHeader(dst []byte, num protowire.Number, payload []byte) ([]byte, int, error) {
	dst, err := l.transcoder.AppendBlockHeader(dst, num, payload)
	if err != nil {
		return dst, 0, err
	}
	return dst, 1, nil
}

func (l *link) handleFeeFilter(payload []byte) error {
	if len(payload) < 8 {
		return fmt.Errorf("feefilter of %d bytes", len(payload))
	}
	l.emit(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_FeefilterAnnouncement{
		FeefilterAnnouncement: int64(binary.LittleEndian.Uint64(payload)),
	}}, l.times())
	return nil
}

// askForAnnounced asks for the header of the last block in an inv. The node announced
// it that way because it doesn't know that we have its parent.
func (l *link) askForAnnounced(inv []byte) error {
	items := inv[compactSizeLength(inv):]
	var last []byte
	for item := range slices.Chunk(items[:len(items)/inventoryItemSize*inventoryItemSize], inventoryItemSize) {
		if binary.LittleEndian.Uint32(item) == inventoryBlock {
			last = item
		}
	}
	if last == nil {
		return nil
	}
	return l.askHeader([chainhash.HashSize]byte(last[4:]))
}

// askHeader asks for one header: getheaders without a locator (Bitcoin Core's
// net_processing.cpp then sends the block of the stop hash) and so tells the node that
// we have that block from now on.
func (l *link) askHeader(hash [chainhash.HashSize]byte) error {
	l.asked, l.awaiting = hash, true
	payload := binary.LittleEndian.AppendUint32(nil, protocolVersion)
	payload = append(payload, 0) // no locator
	return l.transport.send("getheaders", append(payload, hash[:]...))
}

// isAnswer says whether a headers message answers askHeader, and so is no
// announcement. One without headers is never an announcement.
func (l *link) isAnswer(payload []byte) bool {
	if len(payload) < 1+blockHeaderSize || payload[0] != 1 {
		return false
	}
	if !l.awaiting || chainhash.DoubleHashH(payload[1:1+blockHeaderSize]) != l.asked {
		return false
	}
	l.awaiting = false
	return true
}

// compactSizeLength is the length in bytes of the number at the start of a payload
// that was decoded before.
func compactSizeLength(payload []byte) int {
	switch {
	case len(payload) == 0:
		return 0
	case payload[0] < 0xfd:
		return 1
	default:
		return min(len(payload), 1+2<<(payload[0]-0xfd))
	}
}

// parseHash reads a hash as RPC prints it.
func parseHash(text string) ([chainhash.HashSize]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != chainhash.HashSize {
		return [chainhash.HashSize]byte{}, fmt.Errorf("%q is not a block hash", text)
	}
	slices.Reverse(b)
	return [chainhash.HashSize]byte(b), nil
}
