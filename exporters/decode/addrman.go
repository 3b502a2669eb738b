package decode

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

// AddrmanEntry is one position of the node's address manager.
type AddrmanEntry struct {
	// Tried says which of the two tables it is in.
	Tried            bool
	Bucket, Position uint32
	Address          []byte
	Port             uint32
	Network          []byte
	Services         uint64
	// Time is when the address was last heard of, in UNIX seconds.
	Time     int64
	Source   []byte
	AS       uint32
	SourceAS uint32
}

// Numbers of the fields of a map's entries in protobuf.
const (
	mapKey   = 1
	mapValue = 2
)

// AddrmanEntries walks the positions in an event of getrawaddrman, of which there may
// be 82,000, and calls f with each; what e refers to is valid during the call. It gives
// false when the event is damaged or another one.
func AddrmanEntries(data []byte, f func(e *AddrmanEntry)) bool {
	body, ok := inner(data, field.EventRpcExtractor, field.RpcExtractorAddrman)
	if !ok {
		return false
	}
	var e AddrmanEntry
	table := fields{rest: body}
	for table.next() {
		if table.typ != protowire.BytesType || (table.num != field.AddrmanNew && table.num != field.AddrmanTried) {
			continue
		}
		bucket, content, ok := mapEntry(table.bytes)
		if !ok {
			return false
		}
		positions := fields{rest: content}
		for positions.next() {
			if !positions.is(field.AddrmanBucketEntries, protowire.BytesType) {
				continue
			}
			position, entry, ok := mapEntry(positions.bytes)
			if !ok {
				return false
			}
			e = AddrmanEntry{Tried: table.num == field.AddrmanTried, Bucket: bucket, Position: position}
			if !e.decode(entry) {
				return false
			}
			f(&e)
		}
		if positions.bad {
			return false
		}
	}
	return !table.bad
}

// inner gives the content of a message two levels down.
func inner(data []byte, outerNum, innerNum protowire.Number) (body []byte, ok bool) {
	_, data, ok = oneof(data, outerNum)
	if !ok {
		return nil, false
	}
	f := fields{rest: data}
	for f.next() {
		if f.is(innerNum, protowire.BytesType) {
			body = f.bytes
		}
	}
	return body, body != nil && !f.bad
}

// mapEntry reads an entry of a map from a number to a message.
func mapEntry(data []byte) (key uint32, value []byte, ok bool) {
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.is(mapKey, protowire.VarintType):
			key = uint32(f.value)
		case f.is(mapValue, protowire.BytesType):
			value = f.bytes
		}
	}
	return key, value, !f.bad
}

func (e *AddrmanEntry) decode(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.is(field.AddrmanEntryAddress, protowire.BytesType):
			e.Address = f.bytes
		case f.is(field.AddrmanEntryPort, protowire.VarintType):
			e.Port = uint32(f.value)
		case f.is(field.AddrmanEntryNetwork, protowire.BytesType):
			e.Network = f.bytes
		case f.is(field.AddrmanEntryServices, protowire.VarintType):
			e.Services = f.value
		case f.is(field.AddrmanEntryTime, protowire.VarintType):
			e.Time = int64(f.value)
		case f.is(field.AddrmanEntrySource, protowire.BytesType):
			e.Source = f.bytes
		case f.is(field.AddrmanEntryMappedAs, protowire.VarintType):
			e.AS = uint32(f.value)
		case f.is(field.AddrmanEntrySourceMappedAs, protowire.VarintType):
			e.SourceAS = uint32(f.value)
		}
	}
	return !f.bad
}

// CallDurationOf reads how long the call took that an RPC event is the answer to, in
// nanoseconds.
func CallDurationOf(data []byte) (ns uint64, ok bool) {
	_, body, ok := oneof(data, field.EventRpcExtractor)
	if !ok {
		return 0, false
	}
	ok = false
	f := fields{rest: body}
	for f.next() {
		if f.is(field.RpcExtractorCallDurationNs, protowire.VarintType) {
			ns, ok = f.value, true
		}
	}
	return ns, ok && !f.bad
}
