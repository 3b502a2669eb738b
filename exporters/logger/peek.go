package logger

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

// message is what the filter and the counts want of a P2P message's event. The slices
// refer to the event's bytes.
type message struct {
	peerID        uint64
	address, kind []byte
	inbound       bool
}

// peekMessage reads the metadata of a P2P message without decoding the event. It returns
// false when there is none.
func peekMessage(data []byte) (message, bool) {
	var m message
	for _, num := range []protowire.Number{field.EventEbpfExtractor, field.EbpfExtractorMessage, field.MessageEventMeta} {
		data = lastBytes(data, num)
		if data == nil {
			return m, false
		}
	}
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return m, false
		}
		data = data[n:]
		switch {
		case typ == protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(data)
			switch num {
			case field.MetadataPeerId:
				m.peerID = v
			case field.MetadataInbound:
				m.inbound = v != 0
			}
		case typ == protowire.BytesType:
			var v []byte
			v, n = protowire.ConsumeBytes(data)
			switch num {
			case field.MetadataAddr:
				m.address = v
			case field.MetadataCommand:
				m.kind = v
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return m, false
		}
		data = data[n:]
	}
	return m, true
}

// lastBytes finds a length-delimited field, the last one where it is repeated; nil when
// it is missing or the bytes are damaged.
func lastBytes(data []byte, want protowire.Number) []byte {
	var found []byte
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil
		}
		data = data[n:]
		n = protowire.ConsumeFieldValue(num, typ, data)
		if n < 0 {
			return nil
		}
		if num == want && typ == protowire.BytesType {
			found, _ = protowire.ConsumeBytes(data)
		}
		data = data[n:]
	}
	return found
}
