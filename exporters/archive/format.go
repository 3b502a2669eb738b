// Package archive keeps events in files and gives them back: a sink, a reader, and a
// source that replays.
//
// A file is what the existing peer-observer (Rust) writes and reads: a
// length-delimited header and length-delimited events in zstd. Here the zstd data is
// cut into frames, one a block of whole events, each with a checksum; what stands
// between them (descriptions of the blocks, the index) is in skippable frames, which
// every zstd decoder passes over (RFC 8878, section 3.1.2). So a damaged or torn file
// loses only the blocks that are damaged, and a time can be sought.
package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// formatVersion is ArchiveHeader.format of the files that are written here.
const formatVersion = 1

// Magic numbers at the start of zstd frames (RFC 8878), little-endian.
const (
	zstdMagic          = 0xfd2fb528
	skippableMagic     = 0x184d2a50
	skippableMagicMask = 0xfffffff0
	// noteMagic is the one of the sixteen skippable frames that is used here.
	noteMagic = 0x184d2a5b
)

// A note is a skippable frame of this format:
//
//	magic 4 | length 4 | tag 4 | protobuf message | CRC-32C 4 | length of all 4 | tag 4
//
// All numbers are little-endian. The checksum is over tag and message. It can be found
// from its start and, as the index has to be, from its end.
const (
	skippableHead = 8
	noteTag       = 4
	noteTrailer   = 12
	noteOverhead  = skippableHead + noteTag + noteTrailer
	// blockTag and indexTag say what message is inside.
	blockTag = "pobB"
	indexTag = "pobI"
)

// Bounds for what is read, in bytes.
const (
	// maxHeader bounds the first message, and its frame.
	maxHeader = 64 << 10
	// maxBlock bounds the content of a block. The largest event, with its length
	// prefix, after a block that was nearly full makes one of event.MaxSize and
	// maxBlockSize.
	maxBlock = event.MaxSize + maxBlockSize + 16
	// maxCompressed bounds a block's frame: data that can't be compressed grows by
	// 3 bytes for each 128 KiB and the frame's header and checksum.
	maxCompressed = maxBlock + maxBlock/1024 + 64
	// maxNote bounds an index, which needs about 45 bytes a block.
	maxNote = 16 << 20
	// maxBlockNote bounds the description of a block, which needs about 30 bytes a kind
	// of event.
	maxBlockNote = 16 << 10
	// maxWindow is the largest window that is accepted in files of the existing tool,
	// whose default level 22 uses all of it. It is the limit of the zstd program too.
	maxWindow = 128 << 20
)

// errShort is returned for data that ends too early.
var errShort = errors.New("ends too early")

func castagnoli(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

// appendNote appends a skippable frame with a message.
func appendNote(dst []byte, tag string, message proto.Message) ([]byte, error) {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, noteMagic)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, tag...)
	dst, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, message)
	if err != nil {
		return nil, err
	}
	dst = binary.LittleEndian.AppendUint32(dst, castagnoli(dst[start+skippableHead:]))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(dst)-start+8))
	dst = append(dst, tag...)
	binary.LittleEndian.PutUint32(dst[start+4:], uint32(len(dst)-start-skippableHead))
	return dst, nil
}

// parseNote reads a whole note of known length.
func parseNote(data []byte) (tag string, message []byte, err error) {
	n := len(data)
	if n < noteOverhead {
		return "", nil, errShort
	}
	tag = string(data[skippableHead : skippableHead+noteTag])
	checked := data[skippableHead : n-noteTrailer]
	switch {
	case binary.LittleEndian.Uint32(data) != noteMagic || int(binary.LittleEndian.Uint32(data[4:])) != n-skippableHead:
		return "", nil, errors.New("no note of an archive")
	case tag != blockTag && tag != indexTag, tag != string(data[n-noteTag:]), int(binary.LittleEndian.Uint32(data[n-8:])) != n:
		return "", nil, errors.New("damaged note")
	case binary.LittleEndian.Uint32(data[n-noteTrailer:]) != castagnoli(checked):
		return "", nil, errors.New("note with a wrong checksum")
	}
	return tag, checked[noteTag:], nil
}

// parseBlockNote reads what a block's description says, if that is possible for a frame
// that follows it at offset.
func parseBlockNote(message []byte, offset int64) (*eventpb.ArchiveBlock, error) {
	b := new(eventpb.ArchiveBlock)
	if err := proto.Unmarshal(message, b); err != nil {
		return nil, err
	}
	return b, checkBlock(b, offset)
}

// checkBlock refuses a block that can't be.
func checkBlock(b *eventpb.ArchiveBlock, offset int64) error {
	switch {
	case offset >= 0 && b.GetOffset() != uint64(offset):
		return errors.New("description of a block belongs to another place")
	case b.GetCompressedBytes() > maxCompressed || b.GetBytes() > maxBlock || b.GetEvents() > b.GetBytes():
		return errors.New("description of a block that can't be")
	}
	return nil
}

// frameLength gives the length of the zstd frame at the start of data, by walking its
// blocks; errShort when data ends before.
func frameLength(data []byte) (int, error) {
	if len(data) < 5 {
		return 0, errShort
	}
	if binary.LittleEndian.Uint32(data) != zstdMagic {
		return 0, errors.New("no zstd frame")
	}
	descriptor := data[4]
	single := descriptor&0x20 != 0
	pos := 5
	if !single {
		pos++ // window descriptor
	}
	pos += []int{0, 1, 2, 4}[descriptor&3] // dictionary id
	switch descriptor >> 6 {               // content size
	case 0:
		if single {
			pos++
		}
	case 1:
		pos += 2
	case 2:
		pos += 4
	case 3:
		pos += 8
	}
	for last := false; !last; {
		if len(data) < pos+3 {
			return 0, errShort
		}
		head := int(data[pos]) | int(data[pos+1])<<8 | int(data[pos+2])<<16
		last = head&1 != 0
		pos += 3
		switch head >> 1 & 3 {
		case 1: // one byte, repeated
			pos++
		case 3:
			return 0, errors.New("zstd frame with a block of a reserved type")
		default:
			pos += head >> 3
		}
	}
	if descriptor&4 != 0 {
		pos += 4 // checksum
	}
	if len(data) < pos {
		return 0, errShort
	}
	return pos, nil
}

// cutEvent takes the next length-delimited event from the content of a block.
func cutEvent(content []byte) (data, rest []byte, err error) {
	size, n := protowire.ConsumeVarint(content)
	switch {
	case n < 0:
		return nil, nil, fmt.Errorf("length of an event: %w", protowire.ParseError(n))
	case size > uint64(len(content)-n):
		return nil, nil, fmt.Errorf("an event of %d bytes in the %d bytes that are left of its block", size, len(content)-n)
	}
	end := n + int(size)
	return content[n:end:end], content[end:], nil
}
