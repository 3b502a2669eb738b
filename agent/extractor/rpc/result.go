package rpc

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// problems counts what of an answer was not understood or not taken.
type problems struct {
	// count is the number of values of an unexpected kind; first names one.
	count uint64
	first string
	// omitted is the number of entries left out to bound memory.
	omitted uint64
}

func (p *problems) note(key string) {
	if p.count == 0 {
		p.first = key
	}
	p.count++
}

// convertFunc makes the encoded RpcExtractor message of a JSON result. A part that is
// not as expected is left out and noted; the error is for a result that is no use at
// all, and wraps errMalformed.
type convertFunc func(raw []byte, p *problems) ([]byte, error)

// result takes a result straight from the JSON decoder, so that large ones aren't
// copied.
type result struct {
	convert  convertFunc
	body     []byte
	problems problems
}

var _ json.Unmarshaler = (*result)(nil)

// UnmarshalJSON implements json.Unmarshaler.
func (r *result) UnmarshalJSON(raw []byte) error {
	body, err := r.convert(raw, &r.problems)
	if err != nil {
		return err
	}
	r.body = body
	return nil
}

// encode is the last step of most convertFuncs.
func encode(message *eventpb.RpcExtractor) ([]byte, error) {
	body, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return body, nil
}

// emit puts an encoded RpcExtractor on the stream.
func (x *Extractor) emit(body []byte, duration time.Duration, nodeStart int64) error {
	buffer := event.NewBuffer(len(body) + 128)
	grown := append(buffer.Grow(), body...)
	grown = event.AppendVarintField(grown, field.RpcExtractorCallDurationNs, uint64(max(duration, 0)))
	buffer.SetGrown(grown)
	buffer.Enclose(field.EventRpcExtractor)
	x.emitter.EmitEncoded(buffer, event.Times{NodeStart: nodeStart})
	return nil
}

// appendMessage appends a sub-message field to dst.
func appendMessage(dst []byte, num protowire.Number, body []byte) []byte {
	return event.AppendBytesField(dst, num, body)
}
