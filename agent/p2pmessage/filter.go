package p2pmessage

import (
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// filterLoad writes a FilterLoad (BIP37).
func filterLoad(dst []byte, r *reader) []byte {
	dst = appendBytes(dst, field.FilterLoadFilter, r.varBytes(0))
	dst = appendUint(dst, field.FilterLoadHashFuncs, uint64(r.uint32()))
	dst = appendUint(dst, field.FilterLoadTweak, uint64(r.uint32()))
	flags := r.uint8()
	dst = appendUint(dst, field.FilterLoadFlags, uint64(bloomFlags(flags)))
	return appendUint(dst, field.FilterLoadFlagsByte, uint64(flags))
}

// bloomFlags is what Bitcoin Core does for a flags byte, of which it looks at two bits
// (BLOOM_UPDATE_MASK in its common/bloom.h).
func bloomFlags(flags uint8) eventpb.FilterLoad_BloomFlags {
	switch flags & 3 {
	case 1:
		return eventpb.FilterLoad_BLOOM_FLAGS_ALL
	case 2:
		return eventpb.FilterLoad_BLOOM_FLAGS_PUBKEY_ONLY
	default:
		return eventpb.FilterLoad_BLOOM_FLAGS_NONE
	}
}

// filterAdd writes a FilterAdd (BIP37).
func filterAdd(dst []byte, r *reader) []byte {
	return appendBytes(dst, field.FilterAddFilter, r.varBytes(0))
}

// getCFilters writes a GetCFilter (BIP157).
func getCFilters(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.GetCFilterFilterType, uint64(r.uint8()))
	dst = appendUint(dst, field.GetCFilterStartHeight, uint64(r.uint32()))
	return appendBytes(dst, field.GetCFilterStopHash, r.take(hashSize))
}

// cFilter writes a CFilter (BIP157).
func cFilter(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.CFilterFilterType, uint64(r.uint8()))
	dst = appendBytes(dst, field.CFilterBlockHash, r.take(hashSize))
	return appendBytes(dst, field.CFilterFilter, r.varBytes(0))
}

// getCFHeaders writes a GetCFHeaders (BIP157).
func getCFHeaders(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.GetCFHeadersFilterType, uint64(r.uint8()))
	dst = appendUint(dst, field.GetCFHeadersStartHeight, uint64(r.uint32()))
	return appendBytes(dst, field.GetCFHeadersStopHash, r.take(hashSize))
}

// cFHeaders writes a CFHeaders (BIP157).
func cFHeaders(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.CFHeadersFilterType, uint64(r.uint8()))
	dst = appendBytes(dst, field.CFHeadersStopHash, r.take(hashSize))
	dst = appendBytes(dst, field.CFHeadersPreviousFilterHeader, r.take(hashSize))
	n := r.elements(hashSize)
	r.keep = r.counted
	return hashes(dst, field.CFHeadersFilterHashes, r, n)
}

// getCFCheckpt writes a GetCFCheckpt (BIP157).
func getCFCheckpt(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.GetCFCheckptFilterType, uint64(r.uint8()))
	return appendBytes(dst, field.GetCFCheckptStopHash, r.take(hashSize))
}

// cFCheckpt writes a CFCheckpt (BIP157).
func cFCheckpt(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.CFCheckptFilterType, uint64(r.uint8()))
	dst = appendBytes(dst, field.CFCheckptStopHash, r.take(hashSize))
	n := r.elements(hashSize)
	r.keep = r.counted
	return hashes(dst, field.CFCheckptFilterHeaders, r, n)
}
