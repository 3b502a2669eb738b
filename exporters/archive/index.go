package archive

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// index is an ArchiveIndex that was checked.
type index struct {
	blocks []indexed
	counts []*eventpb.ArchiveCount
}

// indexed is a block in an index. Times are UNIX nanoseconds.
type indexed struct {
	offset, compressed int64
	bytes, events      uint64
	first, last        int64
}

// parseIndex reads the index of a file whose blocks lie between start and end. It stops at
// the first block that can't be, so that an index takes not much more memory than its
// encoding.
func parseIndex(message []byte, start, end int64) (*index, error) {
	x := new(index)
	at := start
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(num, typ, message[n:])
		if m < 0 {
			return nil, protowire.ParseError(m)
		}
		var content []byte
		if typ == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(message[n:])
		}
		message = message[n+m:]
		switch num {
		case field.ArchiveIndexBlocks:
			b := new(eventpb.ArchiveBlock)
			if err := proto.Unmarshal(content, b); err != nil {
				return nil, err
			}
			if err := checkBlock(b, -1); err != nil {
				return nil, err
			}
			if b.GetOffset() > uint64(end) || int64(b.GetOffset()) < at || b.GetEvents() == 0 || b.GetCompressedBytes() == 0 {
				return nil, errors.New("index with a block where none can be")
			}
			at = int64(b.GetOffset() + b.GetCompressedBytes())
			if at > end {
				return nil, errors.New("index with a block behind the end")
			}
			x.blocks = append(x.blocks, indexed{
				offset: int64(b.GetOffset()), compressed: int64(b.GetCompressedBytes()),
				bytes: b.GetBytes(), events: b.GetEvents(), first: b.GetFirstTimeNs(), last: b.GetLastTimeNs(),
			})
		case field.ArchiveIndexCounts:
			c := new(eventpb.ArchiveCount)
			if err := proto.Unmarshal(content, c); err != nil {
				return nil, err
			}
			// A newer version may know more kinds.
			if len(x.counts) >= 4*int(event.KindCount) {
				return nil, errors.New("index with too many kinds of events")
			}
			x.counts = append(x.counts, c)
		}
	}
	return x, nil
}
