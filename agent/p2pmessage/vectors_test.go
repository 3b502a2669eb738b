package p2pmessage

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func fromHex(t *testing.T, text string) payload {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The first block, the header of which everybody knows the hash.
const genesisBlock = "01000000 0000000000000000000000000000000000000000000000000000000000000000" +
	"3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a 29ab5f49 ffff001d 1dac2b7c 01" +
	"01000000 01 0000000000000000000000000000000000000000000000000000000000000000 ffffffff" +
	"4d 04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e20627269" +
	"6e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73 ffffffff" +
	"01 00f2052a01000000 43 4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6" +
	"49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac 00000000"

// display gives a hash in the byte order that people read.
func display(hash []byte) string {
	hash = slices.Clone(hash)
	slices.Reverse(hash)
	return hex.EncodeToString(hash)
}

func TestGenesisBlock(t *testing.T) {
	p := fromHex(t, genesisBlock)
	block := check(t, New(), "block", p, len(p)).GetBlock()
	const hash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
	if got := display(block.GetHeader().GetHash()); got != hash {
		t.Errorf("hash %s, want %s", got, hash)
	}
	tx := block.GetTransactions()[0]
	const id = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
	if got := display(tx.GetTxid()); got != id || !bytes.Equal(tx.GetTxid(), tx.GetWtxid()) {
		t.Errorf("txid %s, wtxid %s, want %s", got, display(tx.GetWtxid()), id)
	}
}

func repeated(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// What each payload is decoded to, as protobuf text of MessageEvent without meta.
func TestVectors(t *testing.T) {
	hash := repeated(0xaa, hashSize)
	header := payload{}.u32(0x20000000).raw(repeated(1, 32)...).raw(repeated(2, 32)...).u32(3).u32(4).u32(5)
	tx := payload{}.u32(1).raw(0, 0).u32(9) // no inputs, no outputs
	versionStart := payload{}.u32(70016).u64(1033).u64(1700000000).
		u64(1).raw([]byte(ipv4Prefix)...).raw(203, 0, 113, 1).port(8333)
	versionSender := versionStart.u64(1033).raw(repeated(0, 16)...).port(0).u64(77)

	// Appending to one of these must not change another.
	header, tx, versionStart, versionSender = slices.Clip(header), slices.Clip(tx), slices.Clip(versionStart), slices.Clip(versionSender)

	tests := []struct {
		name, message string
		payload       payload
		want          string
	}{
		{"ping", "ping", payload{}.u64(5), `ping{value:5}`},
		{"ping without nonce (before BIP31)", "ping", nil, `oldping:true`},
		{"ping with half a nonce", "ping", payload{}.u32(5),
			`unknown{command:"ping" payload:"\x05\0\0\0"} payload_state:PAYLOAD_STATE_MALFORMED`},
		{"ping with more than a nonce", "ping", payload{}.u64(5).raw(1, 2, 3), `ping{value:5} trailing_bytes:3`},
		{"verack with content", "verack", payload{}.raw(1), `verack:true trailing_bytes:1`},
		{"empty addrv2", "addrv2", nil, `emptyaddrv2:true`},
		{"addrv2 of no addresses", "addrv2", payload{}.u8(0), `addrv2{} element_count:0`},
		{"unknown type", "sendpackages", payload{}.raw('a', 'b'), `unknown{command:"sendpackages" payload:"ab"}`},
		{"type in capitals", "PING", payload{}.u64(5), `unknown{command:"PING" payload:"\x05\0\0\0\0\0\0\0"}`},

		{"inventory types", "inv", payload{}.u8(9).
			u32(0).raw(hash...).u32(1).raw(hash...).u32(2).raw(hash...).u32(3).raw(hash...).u32(4).raw(hash...).
			u32(5).raw(hash...).u32(0x40000001).raw(hash...).u32(0x40000002).raw(hash...).u32(0x40000003).raw(hash...),
			`inv{items{error:true} items{transaction:"HASH"} items{block:"HASH"} items{unknown{inv_type:3 hash:"HASH"}}
			items{compact_block:"HASH"} items{wtx:"HASH"} items{witness_transaction:"HASH"} items{witness_block:"HASH"}
			items{unknown{inv_type:0x40000003 hash:"HASH"}}} element_count:9`},
		{"count not in its shortest form", "inv", payload{}.raw(0xfd, 1, 0).u32(1).raw(hash...),
			`unknown{command:"inv" payload:"\xfd\x01\0\x01\0\0\0HASH"} payload_state:PAYLOAD_STATE_MALFORMED`},
		{"count larger than the payload", "getdata", payload{}.u8(2).u32(1).raw(hash...),
			`unknown{command:"getdata" payload:"\x02\x01\0\0\0HASH"} payload_state:PAYLOAD_STATE_MALFORMED element_count:2`},
		{"headers with a transaction count", "headers", payload{}.u8(1).raw(header...).raw(0xfd, 0xfd, 0),
			`headers{headers{HEADER}} element_count:1`},

		{"addresses (BIP155)", "addrv2", payload{}.u8(9).
			u32(1).compact(9).u8(1).varBytes([]byte{192, 0, 2, 1}).port(8333).
			u32(2).compact(1033).u8(2).varBytes(fromHex(t, "20010db8000000000000000000000001")).port(1).
			u32(3).compact(0).u8(3).varBytes(fromHex(t, "edb108e43588e54635ca")).port(2).
			u32(4).compact(1 << 40).u8(4).varBytes(fromHex(t, "79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f")).port(3).
			u32(5).compact(1).u8(5).varBytes(fromHex(t, "a2894dabaec08c0051a481a6dac88b64f98232ae42d4b6fd2fa81952dfe36a87")).port(0).
			u32(6).compact(1).u8(6).varBytes(fromHex(t, "fc000001000200030004000500060007")).port(4).
			u32(7).compact(1).u8(99).varBytes([]byte("xyz")).port(5).
			u32(8).compact(1).u8(2).varBytes(fromHex(t, "00000000000000000000ffffc0000201")).port(6).
			u32(9).compact(1).u8(3).varBytes([]byte("wrong")).port(7),
			`addrv2{addresses{timestamp:1 services:9 port:8333 ipv4:"192.0.2.1"}
			addresses{timestamp:2 services:1033 port:1 ipv6:"2001:db8::1"}
			addresses{timestamp:3 services:0 port:2 torv2:"5wyqrzbvrdsumnok.onion"}
			addresses{timestamp:4 services:0x10000000000 port:3 torv3:"pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"}
			addresses{timestamp:5 services:1 port:0 i2p:"ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p"}
			addresses{timestamp:6 services:1 port:4 cjdns:"fc00:1:2:3:4:5:6:7"}
			addresses{timestamp:7 services:1 port:5 unknown{id:99 address:"xyz"}}
			addresses{timestamp:8 services:1 port:6 ipv6:"::ffff:c000:201"}
			addresses{timestamp:9 services:1 port:7 unknown{id:3 address:"wrong"}}} element_count:9`},
		{"IPv4 address of the wrong length", "addrv2", payload{}.u8(1).u32(1).u8(1).u8(1).varBytes([]byte{1, 2}).port(1),
			`unknown{command:"addrv2" payload:"\x01\x01\0\0\0\x01\x01\x02\x01\x02\0\x01"} payload_state:PAYLOAD_STATE_MALFORMED element_count:1`},
		{"old addresses", "addr", payload{}.u8(2).
			u32(1).u64(9).raw([]byte(ipv4Prefix)...).raw(192, 0, 2, 1).port(8333).
			u32(2).u64(1).raw(fromHex(t, "fd87d87eeb43edb108e43588e54635ca")...).port(1),
			`addr{addresses{timestamp:1 services:9 port:8333 ipv4:"192.0.2.1"}
			addresses{timestamp:2 services:1 port:1 torv2:"5wyqrzbvrdsumnok.onion"}} element_count:2`},

		{"compact block (BIP152)", "cmpctblock", header.u64(6).
			u8(2).raw(1, 2, 3, 4, 5, 6).raw(7, 8, 9, 10, 11, 12).
			u8(2).u8(0).raw(tx...).raw(0xfd, 0xe8, 0x03).raw(tx...),
			`compactblock{header{HEADER} nonce:6 short_ids:"\x01\x02\x03\x04\x05\x06" short_ids:"\x07\x08\t\n\x0b\x0c"
			transactions{diff_index:0 tx{TX}} transactions{diff_index:1000 tx{TX}}} element_count:4`},
		{"positions are differences (BIP152)", "getblocktxn", payload{}.raw(hash...).u8(4).raw(0, 0, 5).raw(0xfd, 0xfd, 0),
			`getblocktxn{block_hash:"HASH" tx_indexes:[0,1,7,261]} element_count:4`},
		{"position above 65535", "getblocktxn", payload{}.raw(hash...).u8(2).raw(0xfd, 0xff, 0xff, 0),
			`unknown{command:"getblocktxn" payload:"HASH\x02\xfd\xff\xff\0"} payload_state:PAYLOAD_STATE_MALFORMED element_count:2`},
		{"missing transactions (BIP152)", "blocktxn", payload{}.raw(hash...).u8(1).raw(tx...),
			`blocktxn{block_hash:"HASH" transactions{TX}} element_count:1`},
		{"high-bandwidth mode", "sendcmpct", payload{}.u8(1).u64(2), `sendcompact{send_compact:true version:2}`},
		{"neither true nor false (BIP152)", "sendcmpct", payload{}.u8(2).u64(2),
			`unknown{command:"sendcmpct" payload:"\x02\x02\0\0\0\0\0\0\0"} payload_state:PAYLOAD_STATE_MALFORMED`},

		{"version", "version", versionSender.varBytes([]byte("/x:1/")).u32(800000).u8(0),
			`version{version:70016 services:1033 timestamp:1700000000
			receiver{timestamp:0 services:1 port:8333 ipv4:"203.0.113.1"} sender{timestamp:0 services:1033 port:0 ipv6:"::"}
			nonce:77 user_agent:"/x:1/" start_height:800000 relay:false}`},
		{"version that ends after the receiver", "version", versionStart,
			`version{version:70016 services:1033 timestamp:1700000000
			receiver{timestamp:0 services:1 port:8333 ipv4:"203.0.113.1"} sender{timestamp:0 services:0 port:0 ipv6:"::"}
			nonce:0 user_agent:"" start_height:-1 relay:true absent_fields:[5,6,7,8,9]}`},
		{"version that ends after the nonce", "version", versionSender,
			`version{version:70016 services:1033 timestamp:1700000000
			receiver{timestamp:0 services:1 port:8333 ipv4:"203.0.113.1"} sender{timestamp:0 services:1033 port:0 ipv6:"::"}
			nonce:77 user_agent:"" start_height:-1 relay:true absent_fields:[7,8,9]}`},
		{"version with a user agent of 256 bytes", "version", versionSender.varBytes(repeated('a', 256)),
			`version{version:70016 services:1033 timestamp:1700000000
			receiver{timestamp:0 services:1 port:8333 ipv4:"203.0.113.1"} sender{timestamp:0 services:1033 port:0 ipv6:"::"}
			nonce:77 user_agent:"` + strings.Repeat("a", 256) + `" start_height:-1 relay:true absent_fields:[8,9]}`},
		{"version with a longer one", "version", versionSender.varBytes(repeated('a', 257)),
			`unknown{command:"version" payload:"` + escaped(versionSender.varBytes(repeated('a', 257))) +
				`"} payload_state:PAYLOAD_STATE_MALFORMED`},
		{"version before BIP37", "version", versionSender.varBytes([]byte("a\xffb")).u32(5),
			`version{version:70016 services:1033 timestamp:1700000000
			receiver{timestamp:0 services:1 port:8333 ipv4:"203.0.113.1"} sender{timestamp:0 services:1033 port:0 ipv6:"::"}
			nonce:77 user_agent:"a�b" start_height:5 relay:true absent_fields:9}`},
		{"reconciliation (BIP330)", "sendtxrcncl", payload{}.u32(1).u64(12), `sendtxrcncl{version:1 salt:12}`},
		{"feature (BIP434)", "feature", payload{}.varBytes([]byte("abcd")).varBytes([]byte{1, 2}),
			`feature{feature_id:"abcd" feature_data:"\x01\x02"}`},
		{"feature with too short a name", "feature", payload{}.varBytes([]byte("abc")).varBytes(nil),
			`unknown{command:"feature" payload:"\x03abc\0"} payload_state:PAYLOAD_STATE_MALFORMED`},
		{"feature with something behind it", "feature", payload{}.varBytes([]byte("abcd")).varBytes(nil).u8(1),
			`unknown{command:"feature" payload:"\x04abcd\0\x01"} payload_state:PAYLOAD_STATE_MALFORMED`},

		{"reject without hash", "reject", payload{}.varBytes([]byte("version")).u8(0x11).varBytes([]byte("old")),
			`reject{rejected_command:"version" reason:REJECT_REASON_OBSOLETE reason_details:"old" hash:"ZERO" code:0x11}`},
		{"reject with hash and a code of its own", "reject", payload{}.varBytes([]byte("tx")).u8(0x45).varBytes(nil).raw(hash...),
			`reject{rejected_command:"tx" reason:REJECT_REASON_NONSTANDARD reason_details:"" hash:"HASH" code:0x45}`},
		{"reject with a code of no class", "reject", payload{}.varBytes([]byte("tx")).u8(0x50).varBytes(nil),
			`unknown{command:"reject" payload:"\x02tx\x50\0"} payload_state:PAYLOAD_STATE_MALFORMED`},
		{"alert", "alert", payload{}.varBytes([]byte("text")).varBytes([]byte("sig")), `alert{alert:"text" signature:"sig"}`},
		{"alert without signature", "alert", payload{}.varBytes([]byte("text")).u8(200), `alert{alert:"text"} trailing_bytes:1`},
		{"filter", "filterload", payload{}.varBytes([]byte("ff")).u32(1).u32(2).u8(1),
			`filterload{filter:"ff" hash_funcs:1 tweak:2 flags:BLOOM_FLAGS_ALL flags_byte:1}`},
		{"filter with bits that mean nothing", "filterload", payload{}.varBytes([]byte("ff")).u32(1).u32(2).u8(0xf2),
			`filterload{filter:"ff" hash_funcs:1 tweak:2 flags:BLOOM_FLAGS_PUBKEY_ONLY flags_byte:0xf2}`},
		{"filter with flags that exclude each other", "filterload", payload{}.varBytes([]byte("ff")).u32(1).u32(2).u8(3),
			`filterload{filter:"ff" hash_funcs:1 tweak:2 flags:BLOOM_FLAGS_NONE flags_byte:3}`},
		{"merkle block", "merkleblock", header.u32(7).u8(1).raw(hash...).varBytes([]byte{0b00000101}),
			`merkleblock{header{HEADER} num_transactions:7 hashes:"HASH"
			bits:[true,false,true,false,false,false,false,false]} element_count:1`},
	}
	txid, headerHash := chainhash.DoubleHashB(tx), chainhash.DoubleHashB(header)
	replace := strings.NewReplacer(
		"HASH", strings.Repeat(`\xaa`, hashSize),
		"ZERO", strings.Repeat(`\0`, hashSize),
		"HEADER", `version:0x20000000 prev_blockhash:"`+strings.Repeat(`\x01`, 32)+`" merkle_root:"`+strings.Repeat(`\x02`, 32)+
			`" time:3 bits:4 nonce:5 hash:"`+escaped(headerHash)+`"`,
		"TX", `txid:"`+escaped(txid)+`" wtxid:"`+escaped(txid)+`" raw:"`+escaped(tx)+`"`,
	)
	coder := New()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := check(t, coder, test.message, test.payload, len(test.payload))
			e.Meta = nil
			var want eventpb.MessageEvent
			if err := prototext.Unmarshal([]byte(replace.Replace(test.want)), &want); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(e, &want) {
				t.Errorf("got\n%s\nwant\n%s", prototext.Format(e), prototext.Format(&want))
			}
		})
	}
}

func escaped(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteString(`\x` + hex.EncodeToString([]byte{c}))
	}
	return s.String()
}

// Transactions as Bitcoin Core's decoder takes and refuses them.
func TestTransactionForms(t *testing.T) {
	input := payload{}.raw(repeated(7, hashSize)...).u32(0).varBytes(nil).u32(1)
	output := payload{}.u64(5).varBytes([]byte{0x51})
	plain := payload{}.u8(1).raw(input...).u8(1).raw(output...)
	start := payload{}.u32(2)
	start, plain = slices.Clip(start), slices.Clip(plain)
	tests := []struct {
		name    string
		payload payload
		// want is the payload of which the txid is the hash, nil for malformed.
		want payload
	}{
		{"without witness", start.raw(plain...).u32(9), start.raw(plain...).u32(9)},
		{"with witness", start.raw(0, 1).raw(plain...).u8(1).varBytes([]byte("w")).u32(9), start.raw(plain...).u32(9)},
		{"with a witness of an empty item", start.raw(0, 1).raw(plain...).u8(1).varBytes(nil).u32(9), start.raw(plain...).u32(9)},
		{"with a superfluous witness", start.raw(0, 1).raw(plain...).u8(0).u32(9), nil},
		{"with a witness flag and no inputs", start.raw(0, 1, 0, 0).u32(9), nil},
		{"with an unknown flag", start.raw(0, 2).raw(plain...).u32(9), nil},
		{"with an unknown flag beside the witness", start.raw(0, 3).raw(plain...).u8(1).varBytes([]byte("w")).u32(9), nil},
		{"without inputs and outputs", start.raw(0, 0).u32(9), start.raw(0, 0).u32(9)},
		{"without lock time", start.raw(plain...), nil},
		{"with a script longer than the payload", start.u8(1).raw(repeated(7, 36)...).raw(0xfe, 0, 0, 0, 1).u32(1).u8(0).u32(9), nil},
	}
	coder := New()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := check(t, coder, "tx", test.payload, len(test.payload))
			checkAgainstBtcd(t, "tx", test.payload, e)
			if test.want == nil {
				if e.GetPayloadState() != stateMalformed {
					t.Errorf("not malformed: %v", e)
				}
				return
			}
			tx := e.GetTx().GetTx()
			if !bytes.Equal(tx.GetTxid(), chainhash.DoubleHashB(test.want)) ||
				!bytes.Equal(tx.GetWtxid(), chainhash.DoubleHashB(test.payload)) {
				t.Errorf("wrong hashes: %v", tx)
			}
		})
	}
}
