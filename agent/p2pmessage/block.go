package p2pmessage

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/field"
)

// blockHeaderSize: version, previous block, Merkle root, time, bits, nonce.
const blockHeaderSize = 4 + hashSize + hashSize + 4 + 4 + 4

// appendBlockHeader appends a BlockHeader with its hash.
func appendBlockHeader(dst []byte, num protowire.Number, header []byte) []byte {
	const root = 4 + hashSize
	const rest = root + hashSize
	dst, start := beginField(dst, num)
	version := int32(binary.LittleEndian.Uint32(header))
	dst = event.AppendSintField(dst, field.BlockHeaderVersion, int64(version))
	dst = appendBytes(dst, field.BlockHeaderPrevBlockhash, header[4:root])
	dst = appendBytes(dst, field.BlockHeaderMerkleRoot, header[root:rest])
	dst = appendUint(dst, field.BlockHeaderTime, uint64(binary.LittleEndian.Uint32(header[rest:])))
	dst = appendUint(dst, field.BlockHeaderBits, uint64(binary.LittleEndian.Uint32(header[rest+4:])))
	dst = appendUint(dst, field.BlockHeaderNonce, uint64(binary.LittleEndian.Uint32(header[rest+8:])))
	hash := doubleSHA256(header[:blockHeaderSize])
	dst = appendBytes(dst, field.BlockHeaderHash, hash[:])
	return endField(dst, start)
}

// blockHeader reads a header into a BlockHeader field.
func blockHeader(dst []byte, num protowire.Number, r *reader) []byte {
	if header := r.take(blockHeaderSize); header != nil {
		dst = appendBlockHeader(dst, num, header)
	}
	return dst
}

// headers writes the list of a headers message. Each header has a transaction count
// behind it that should be zero; Bitcoin Core reads and ignores it.
func (t *Transcoder) headers(dst []byte, num protowire.Number, r *reader) []byte {
	n := r.elements(blockHeaderSize + 1)
	r.keep = r.counted
	for range n {
		header := r.take(blockHeaderSize)
		r.compactSize()
		if !r.ok() {
			break
		}
		dst = appendBlockHeader(dst, num, header)
	}
	return dst
}

// block writes a Block.
func (t *Transcoder) block(dst []byte, r *reader) []byte {
	dst = blockHeader(dst, field.BlockHeader, r)
	n := r.elements(minTransactionSize)
	r.keep = r.counted
	return t.transactions(dst, field.BlockTransactions, r, n)
}

// merkleBlock writes a MerkleBlock (BIP37).
func merkleBlock(dst []byte, r *reader) []byte {
	dst = blockHeader(dst, field.MerkleBlockHeader, r)
	dst = appendUint(dst, field.MerkleBlockNumTransactions, uint64(r.uint32()))
	// The wire has the hashes before the bits.
	n := r.elements(hashSize)
	list := r.run(n, hashSize)
	flags := r.varBytes(0)
	if !r.ok() {
		return dst
	}
	// Each bit becomes a byte.
	const bitsPerByte = 8
	if len(dst)+len(list)+len(list)/hashSize*2+len(flags)*bitsPerByte > maxBody {
		r.fail(stateTooLarge)
		return dst
	}
	if len(flags) > 0 {
		dst = appendMessageTag(dst, field.MerkleBlockBits, len(flags)*bitsPerByte)
		for _, b := range flags {
			for range bitsPerByte {
				dst = append(dst, b&1)
				b >>= 1
			}
		}
	}
	whole := reader{b: list}
	return hashes(dst, field.MerkleBlockHashes, &whole, n)
}
