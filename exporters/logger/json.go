package logger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// AppendJSON appends an event as one line of JSON to dst, without line end: the protobuf
// JSON mapping with the field names of the .proto files. Fields that the event has are
// written, zero values too. Characters that could act on a terminal are escaped.
func AppendJSON(dst []byte, e *eventpb.Event) ([]byte, error) {
	options := protojson.MarshalOptions{UseProtoNames: true}
	encoded, err := options.Marshal(e)
	if err != nil {
		return dst, fmt.Errorf("event as JSON: %w", err)
	}
	// The encoder varies white space from build to build on purpose.
	var compact bytes.Buffer
	if err := json.Compact(&compact, encoded); err != nil {
		return dst, fmt.Errorf("event as JSON: %w", err)
	}
	return appendPrintable(dst, compact.Bytes()), nil
}

// appendPrintable escapes characters that aren't printable, such as the control
// characters U+0080 to U+009F and those that reverse the direction of text. They can
// only be in JSON strings.
func appendPrintable(dst, encoded []byte) []byte {
	for len(encoded) > 0 {
		if encoded[0] < utf8.RuneSelf && encoded[0] != 0x7f {
			dst = append(dst, encoded[0])
			encoded = encoded[1:]
			continue
		}
		r, size := utf8.DecodeRune(encoded)
		switch {
		case unicode.IsPrint(r):
			dst = append(dst, encoded[:size]...)
		case r > 0xffff:
			high, low := surrogates(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		encoded = encoded[size:]
	}
	return dst
}

// surrogates splits a character beyond U+FFFF as JSON escapes need it.
func surrogates(r rune) (high, low rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}
