package rpc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// maxBody bounds the encoded answer, below what an event may have.
const maxBody = event.MaxSize - 64<<10

// eachRaw calls do for every value of a JSON array, one at a time, so that a large
// array is never in memory in decoded form.
func eachRaw(raw []byte, do func(item json.RawMessage)) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := expect(decoder, '['); err != nil {
		return err
	}
	for decoder.More() {
		var item json.RawMessage
		if err := decoder.Decode(&item); err != nil {
			return malformed(err)
		}
		do(item)
	}
	return expect(decoder, ']')
}

// expect reads one delimiter.
func expect(decoder *json.Decoder, delimiter json.Delim) error {
	token, err := decoder.Token()
	if err != nil {
		return malformed(err)
	}
	if token != delimiter {
		return fmt.Errorf("%w: %v where %v should be", errMalformed, token, delimiter)
	}
	return nil
}

func malformed(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", errMalformed, err)
}

// orphanColumns are the keys of an entry of getorphantxs.
func orphanColumns() []column {
	return []column{
		{number: field.OrphanTxTxid, key: "txid"},
		{number: field.OrphanTxWtxid, key: "wtxid"},
		{number: field.OrphanTxBytes, key: "bytes"},
		{number: field.OrphanTxVsize, key: "vsize"},
		{number: field.OrphanTxWeight, key: "weight"},
		{number: field.OrphanTxFrom, key: "from"},
	}
}

// maxOrphanBytes bounds the transactions carried in one event. Peers fill the
// orphanage (up to 404,000 weight units each), and who sends what is in the entries
// without the transactions.
const maxOrphanBytes = 4 << 20

func convertOrphanTxs(raw []byte, p *problems) ([]byte, error) {
	return convertOrphanTxsWithin(maxOrphanBytes, raw, p)
}

func convertOrphanTxsWithin(limit int, raw []byte, p *problems) ([]byte, error) {
	columns := orphanColumns()
	orphans := new(eventpb.OrphanTxs)
	carried, omitted := 0, p.omitted
	err := eachEntry(raw, p, func(o object) {
		orphan := new(eventpb.OrphanTx)
		fill(orphan, o, columns, p)
		transaction := &eventpb.Transaction{
			Txid:  internalOrder(orphan.GetTxid()),
			Wtxid: internalOrder(orphan.GetWtxid()),
		}
		if text, ok := o.has("hex"); ok && carried+len(text)/2 <= limit {
			body, err := hexBytes(text)
			if err != nil {
				p.note("hex")
			} else {
				transaction.Raw = body
				carried += len(body)
			}
		}
		orphan.Transaction = transaction
		orphans.Orphans = append(orphans.Orphans, orphan)
	})
	if err != nil {
		return nil, err
	}
	if left := p.omitted - omitted; left > 0 {
		orphans.Omitted = proto.Uint64(left)
	}
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_OrphanTxs{OrphanTxs: orphans}})
}

// internalOrder makes the bytes of a hash, as hashed, of its display form; nil if it
// is none.
func internalOrder(display string) []byte {
	hash, err := hex.DecodeString(display)
	if err != nil || len(hash) != 32 {
		return nil
	}
	slices.Reverse(hash)
	return hash
}

// hexBytes reads a JSON string of hex digits.
func hexBytes(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return nil, errMalformed
	}
	digits := raw[1 : len(raw)-1]
	body := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(body, digits); err != nil {
		return nil, err
	}
	return body, nil
}

// Bounds of the address manager's tables, well above Bitcoin Core's (1,024 and 256
// buckets of 64 positions).
const (
	maxBucket   = 1 << 16
	maxPosition = 1 << 16
)

// addrmanEntry is an entry of getrawaddrman.
type addrmanEntry struct {
	Address        string `json:"address"`
	Port           uint16 `json:"port"`
	Network        string `json:"network"`
	Services       uint64 `json:"services"`
	Time           int64  `json:"time"`
	Source         string `json:"source"`
	SourceNetwork  string `json:"source_network"`
	MappedAS       uint32 `json:"mapped_as"`
	SourceMappedAS uint32 `json:"source_mapped_as"`
}

// convertAddrman reads getrawaddrman entry by entry and encodes each at once: decoded
// as a whole, a full address manager takes some 100 MB, encoded it takes 8.
func convertAddrman(raw []byte, p *problems) ([]byte, error) {
	return convertAddrmanWithin(maxBody, raw, p)
}

func convertAddrmanWithin(limit int, raw []byte, p *problems) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := expect(decoder, '{'); err != nil {
		return nil, err
	}
	e := &addrmanEncoder{decoder: decoder, problems: p, limit: limit}
	var body []byte
	for decoder.More() {
		name, err := key(decoder)
		if err != nil {
			return nil, err
		}
		switch name {
		case "new":
			err = e.table(field.AddrmanNew)
		case "tried":
			err = e.table(field.AddrmanTried)
		default:
			p.note(clean(name, maxText))
			var skipped json.RawMessage
			if err = decoder.Decode(&skipped); err != nil {
				err = malformed(err)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if err := expect(decoder, '}'); err != nil {
		return nil, err
	}
	body = e.body
	if e.omitted > 0 {
		p.omitted += e.omitted
		body = event.AppendVarintField(body, field.AddrmanOmitted, e.omitted)
	}
	return appendMessage(nil, field.RpcExtractorAddrman, body), nil
}

func key(decoder *json.Decoder) (string, error) {
	token, err := decoder.Token()
	if err != nil {
		return "", malformed(err)
	}
	name, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("%w: %v where a key should be", errMalformed, token)
	}
	return name, nil
}

// addrmanEncoder writes an Addrman message.
type addrmanEncoder struct {
	decoder  *json.Decoder
	problems *problems
	body     []byte
	// limit bounds body.
	limit int
	// size is what body will have once the buckets at hand are written.
	size    int
	omitted uint64
	// item and entry are scratch space.
	item, entry []byte
}

// table reads one table and appends its buckets.
func (e *addrmanEncoder) table(number protowire.Number) error {
	if err := expect(e.decoder, '{'); err != nil {
		return err
	}
	buckets := map[uint32][]byte{}
	for e.decoder.More() {
		place, err := key(e.decoder)
		if err != nil {
			return err
		}
		var entry addrmanEntry
		err = e.decoder.Decode(&entry)
		var typeErr *json.UnmarshalTypeError
		switch bucket, position, ok := parsePlace(place); {
		case errors.As(err, &typeErr):
			e.problems.note(typeErr.Field)
		case err != nil:
			return malformed(err)
		case !ok:
			e.problems.note(clean(place, maxText))
		default:
			e.add(buckets, bucket, position, &entry)
		}
	}
	if err := expect(e.decoder, '}'); err != nil {
		return err
	}
	numbers := make([]uint32, 0, len(buckets))
	for bucket := range buckets {
		numbers = append(numbers, bucket)
	}
	slices.Sort(numbers)
	for _, bucket := range numbers {
		e.item = event.AppendVarintField(e.item[:0], mapKey, uint64(bucket))
		e.item = appendMessage(e.item, mapValue, buckets[bucket])
		e.body = appendMessage(e.body, number, e.item)
		delete(buckets, bucket)
	}
	e.size = len(e.body)
	return nil
}

// Field numbers of the entries of a protobuf map.
const (
	mapKey   = 1
	mapValue = 2
	// mapOverhead is more than the tags and lengths around one entry, and its share
	// of those around its bucket, can take.
	mapOverhead = 32
)

// add encodes one entry into its bucket.
func (e *addrmanEncoder) add(buckets map[uint32][]byte, bucket, position uint32, entry *addrmanEntry) {
	b := e.entry[:0]
	b = event.AppendStringField(b, field.AddrmanEntryAddress, clean(entry.Address, maxText))
	b = event.AppendVarintField(b, field.AddrmanEntryPort, uint64(entry.Port))
	b = event.AppendStringField(b, field.AddrmanEntryNetwork, clean(entry.Network, maxText))
	b = event.AppendVarintField(b, field.AddrmanEntryServices, entry.Services)
	b = event.AppendVarintField(b, field.AddrmanEntryTime, uint64(entry.Time))
	b = event.AppendStringField(b, field.AddrmanEntrySource, clean(entry.Source, maxText))
	b = event.AppendStringField(b, field.AddrmanEntrySourceNetwork, clean(entry.SourceNetwork, maxText))
	if entry.MappedAS != 0 {
		b = event.AppendVarintField(b, field.AddrmanEntryMappedAs, uint64(entry.MappedAS))
	}
	if entry.SourceMappedAS != 0 {
		b = event.AppendVarintField(b, field.AddrmanEntrySourceMappedAs, uint64(entry.SourceMappedAS))
	}
	e.entry = b
	if e.size += len(b) + mapOverhead; e.size > e.limit {
		e.omitted++
		return
	}
	e.item = event.AppendVarintField(e.item[:0], mapKey, uint64(position))
	e.item = appendMessage(e.item, mapValue, b)
	buckets[bucket] = appendMessage(buckets[bucket], field.AddrmanBucketEntries, e.item)
}

// parsePlace reads "bucket/position".
func parsePlace(place string) (bucket, position uint32, ok bool) {
	left, right, found := strings.Cut(place, "/")
	b, err1 := strconv.ParseUint(left, 10, 32)
	q, err2 := strconv.ParseUint(right, 10, 32)
	if !found || err1 != nil || err2 != nil || b >= maxBucket || q >= maxPosition {
		return 0, 0, false
	}
	return uint32(b), uint32(q), true
}
