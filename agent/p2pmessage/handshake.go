package p2pmessage

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

const (
	// maxUserAgent is the longest user agent in bytes that Bitcoin Core decodes
	// (MAX_SUBVERSION_LENGTH).
	maxUserAgent = 256
	// Lengths in bytes of a feature's identifier and data (BIP434).
	minFeatureID   = 4
	maxFeatureID   = 80
	maxFeatureData = 512
	// Bounds of texts in a reject message. Senders used to keep them below 12 and
	// 111 bytes (BIP61 has no limit).
	maxRejectCommand = 64
	maxRejectDetails = 1024
)

// version writes a Version. As in Bitcoin Core the message may end after the
// receiver's address or after any later field but the sender's address. What is
// missing gets the value that Bitcoin Core assumes, and is listed.
func (t *Transcoder) version(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.VersionVersion, uint64(r.uint32()))
	dst = appendUint(dst, field.VersionServices, r.uint64())
	dst = event.AppendSintField(dst, field.VersionTimestamp, int64(r.uint64()))
	dst = t.versionAddress(dst, field.VersionReceiver, r)

	given := field.VersionReceiver
	var nonce uint64
	if r.left() > 0 {
		dst = t.versionAddress(dst, field.VersionSender, r)
		nonce = r.uint64()
		given = field.VersionNonce
	} else {
		var nowhere [ipv6Size]byte
		dst = t.appendAddress(dst, field.VersionSender, &endpoint{network: NetworkIPv6, address: nowhere[:]})
	}
	dst = appendUint(dst, field.VersionNonce, nonce)

	var userAgent []byte
	if r.left() > 0 {
		userAgent = r.varBytes(maxUserAgent)
		given = field.VersionUserAgent
	}
	dst = appendText(dst, field.VersionUserAgent, userAgent, maxUserAgent)

	startHeight := int32(-1)
	if r.left() > 0 {
		startHeight = int32(r.uint32())
		given = field.VersionStartHeight
	}
	dst = event.AppendSintField(dst, field.VersionStartHeight, int64(startHeight))

	relay := uint64(1) // BIP37
	if r.left() > 0 {
		relay = uint64(min(r.uint8(), 1))
		given = field.VersionRelay
	}
	dst = appendUint(dst, field.VersionRelay, relay)

	if given < field.VersionRelay {
		dst = appendMessageTag(dst, field.VersionAbsentFields, int(field.VersionRelay-given))
		for num := given + 1; num <= field.VersionRelay; num++ {
			dst = protowire.AppendVarint(dst, uint64(num))
		}
	}
	return dst
}

// versionAddress reads an address of a version message, which has no time.
func (t *Transcoder) versionAddress(dst []byte, num protowire.Number, r *reader) []byte {
	e := endpoint{services: r.uint64()}
	address := r.take(ipv6Size)
	e.port = r.port()
	if !r.ok() {
		return dst
	}
	e.setLegacy(address)
	return t.appendAddress(dst, num, &e)
}

// feature writes a Feature (BIP434). The only message after which nothing may follow.
func feature(dst []byte, r *reader) []byte {
	id := r.varBytes(maxFeatureID)
	data := r.varBytes(maxFeatureData)
	if len(id) < minFeatureID || r.left() > 0 {
		r.fail(stateMalformed)
	}
	dst = appendText(dst, field.FeatureFeatureId, id, maxFeatureID)
	return appendBytes(dst, field.FeatureFeatureData, data)
}

// sendTxRcncl writes a SendTxRcncl (BIP330).
func sendTxRcncl(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.SendTxRcnclVersion, uint64(r.uint32()))
	return event.AppendFixed64Field(dst, field.SendTxRcnclSalt, r.uint64())
}

// reject writes a Reject (BIP61). The hash is there for transactions and blocks only.
func reject(dst []byte, r *reader) []byte {
	dst = appendText(dst, field.RejectRejectedCommand, r.varBytes(maxRejectCommand), maxRejectCommand)
	code := r.uint8()
	reason, ok := rejectReason(code)
	if !ok {
		r.fail(stateMalformed)
	}
	dst = appendUint(dst, field.RejectReason, uint64(reason))
	dst = appendText(dst, field.RejectReasonDetails, r.varBytes(maxRejectDetails), maxRejectDetails)
	var hash [hashSize]byte
	if r.left() >= hashSize {
		copy(hash[:], r.take(hashSize))
	}
	dst = appendBytes(dst, field.RejectHash, hash[:])
	return appendUint(dst, field.RejectCode, uint64(code))
}

// rejectReason maps the codes of BIP61, those without a name to what stands for their
// class. It is false for codes of no class.
func rejectReason(code uint8) (eventpb.Reject_RejectReason, bool) {
	switch {
	case code == 0x11:
		return eventpb.Reject_REJECT_REASON_OBSOLETE, true
	case code == 0x12:
		return eventpb.Reject_REJECT_REASON_DUPLICATE, true
	case code == 0x41:
		return eventpb.Reject_REJECT_REASON_DUST, true
	case code == 0x42:
		return eventpb.Reject_REJECT_REASON_FEE, true
	case code == 0x43:
		return eventpb.Reject_REJECT_REASON_CHECKPOINT, true
	case code >= 0x01 && code <= 0x0f:
		return eventpb.Reject_REJECT_REASON_MALFORMED, true
	case code >= 0x10 && code <= 0x1f:
		return eventpb.Reject_REJECT_REASON_INVALID, true
	case code >= 0x40 && code <= 0x4f:
		return eventpb.Reject_REJECT_REASON_NONSTANDARD, true
	default:
		return 0, false
	}
}

// alert writes an Alert: the signed text and its signature. What follows the text
// without being a signature is left over.
func alert(dst []byte, r *reader) []byte {
	dst = appendBytes(dst, field.AlertAlert, r.varBytes(0))
	if !r.ok() || r.left() == 0 {
		return dst
	}
	rest := *r
	if signature := rest.varBytes(0); rest.ok() {
		dst = appendBytes(dst, field.AlertSignature, signature)
		*r = rest
	}
	return dst
}
