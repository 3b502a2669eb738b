package connectivity

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/field"
)

// addressesIn gives the list of addresses that was announced to the node, or by the node
// on the link of the observer; ok is false for another event. What the node sends to
// others it has received before.
func addressesIn(scratch *decode.Event, e *event.Event) (body []byte, ok bool) {
	switch e.Kind {
	case event.KindMessage:
		if !scratch.Decode(e.Source, e.Data) || !scratch.Message.Inbound {
			return nil, false
		}
		m := &scratch.Message
		return m.Body, m.Case == field.MessageEventAddr || m.Case == field.MessageEventAddrv2
	case event.KindP2PAddressAnnouncement:
		link, ok := inside(e.Data, field.EventP2pExtractor)
		if !ok {
			return nil, false
		}
		return inside(link, field.P2pExtractorAddressAnnouncement)
	default:
		return nil, false
	}
}

// inside gives the message in a field, the last one if there are several.
func inside(data []byte, num protowire.Number) (body []byte, ok bool) {
	for len(data) > 0 {
		n, typ, size := protowire.ConsumeTag(data)
		if size < 0 {
			return nil, false
		}
		data = data[size:]
		size = protowire.ConsumeFieldValue(n, typ, data)
		if size < 0 {
			return nil, false
		}
		if n == num && typ == protowire.BytesType {
			body, _ = protowire.ConsumeBytes(data)
			ok = true
		}
		data = data[size:]
	}
	return body, ok
}
