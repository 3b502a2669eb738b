package p2pmessage

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// One fuzz target for each message type. To run all of them, 30 seconds each:
//
//	go test -list '^Fuzz' ./agent/p2pmessage | grep ^Fuzz |
//	  xargs -I{} go test -run '^$' -fuzz '^{}$' -fuzztime 30s -fuzzminimizetime 1s ./agent/p2pmessage
//
// A target checks what the tests check: the event is valid protobuf with all fields
// that readers demand, says every byte of the payload, and agrees with btcd where
// btcd knows the message.

func FuzzVersion(f *testing.F)      { fuzzType(f, "version") }
func FuzzVerack(f *testing.F)       { fuzzType(f, "verack") }
func FuzzAddr(f *testing.F)         { fuzzType(f, "addr") }
func FuzzAddrV2(f *testing.F)       { fuzzType(f, "addrv2") }
func FuzzSendAddrV2(f *testing.F)   { fuzzType(f, "sendaddrv2") }
func FuzzInv(f *testing.F)          { fuzzType(f, "inv") }
func FuzzGetData(f *testing.F)      { fuzzType(f, "getdata") }
func FuzzNotFound(f *testing.F)     { fuzzType(f, "notfound") }
func FuzzMerkleBlock(f *testing.F)  { fuzzType(f, "merkleblock") }
func FuzzGetBlocks(f *testing.F)    { fuzzType(f, "getblocks") }
func FuzzGetHeaders(f *testing.F)   { fuzzType(f, "getheaders") }
func FuzzTx(f *testing.F)           { fuzzType(f, "tx") }
func FuzzHeaders(f *testing.F)      { fuzzType(f, "headers") }
func FuzzBlock(f *testing.F)        { fuzzType(f, "block") }
func FuzzGetAddr(f *testing.F)      { fuzzType(f, "getaddr") }
func FuzzMempool(f *testing.F)      { fuzzType(f, "mempool") }
func FuzzPing(f *testing.F)         { fuzzType(f, "ping") }
func FuzzPong(f *testing.F)         { fuzzType(f, "pong") }
func FuzzFilterLoad(f *testing.F)   { fuzzType(f, "filterload") }
func FuzzFilterAdd(f *testing.F)    { fuzzType(f, "filteradd") }
func FuzzFilterClear(f *testing.F)  { fuzzType(f, "filterclear") }
func FuzzSendHeaders(f *testing.F)  { fuzzType(f, "sendheaders") }
func FuzzFeeFilter(f *testing.F)    { fuzzType(f, "feefilter") }
func FuzzSendCmpct(f *testing.F)    { fuzzType(f, "sendcmpct") }
func FuzzCmpctBlock(f *testing.F)   { fuzzType(f, "cmpctblock") }
func FuzzGetBlockTxn(f *testing.F)  { fuzzType(f, "getblocktxn") }
func FuzzBlockTxn(f *testing.F)     { fuzzType(f, "blocktxn") }
func FuzzGetCFilters(f *testing.F)  { fuzzType(f, "getcfilters") }
func FuzzCFilter(f *testing.F)      { fuzzType(f, "cfilter") }
func FuzzGetCFHeaders(f *testing.F) { fuzzType(f, "getcfheaders") }
func FuzzCFHeaders(f *testing.F)    { fuzzType(f, "cfheaders") }
func FuzzGetCFCheckpt(f *testing.F) { fuzzType(f, "getcfcheckpt") }
func FuzzCFCheckpt(f *testing.F)    { fuzzType(f, "cfcheckpt") }
func FuzzWtxidRelay(f *testing.F)   { fuzzType(f, "wtxidrelay") }
func FuzzSendTxRcncl(f *testing.F)  { fuzzType(f, "sendtxrcncl") }
func FuzzFeature(f *testing.F)      { fuzzType(f, "feature") }
func FuzzReject(f *testing.F)       { fuzzType(f, "reject") }
func FuzzAlert(f *testing.F)        { fuzzType(f, "alert") }
func FuzzUnknown(f *testing.F)      { fuzzType(f, "sendpackages") }

func fuzzType(f *testing.F, name string) {
	types := messageTypes()
	if i := slices.IndexFunc(types, func(mt messageType) bool { return mt.name == name }); i >= 0 {
		for seed := range uint64(8) {
			p := types[i].generate(newSeeded(seed))
			f.Add([]byte(p), uint32(len(p)))
			f.Add([]byte(p), uint32(len(p)*2/3))
		}
	}
	f.Add([]byte{}, uint32(0))
	f.Add([]byte{0xfd, 0xfd, 0x00}, uint32(3))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint32(9))
	coder := New()
	f.Fuzz(func(t *testing.T, p []byte, captured uint32) {
		e := check(t, coder, name, p, len(p))
		checkAgainstBtcd(t, name, p, e)
		if n := int(captured % (uint32(len(p)) + 1)); n < len(p) {
			check(t, coder, name, p, n)
		}
	})
}

// FuzzMetadata feeds texts that no tracepoint gives.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte("203.0.113.9:8333"), []byte("inbound"), []byte("ping"), uint64(8), []byte("12345678"))
	f.Add([]byte("\xff\xfe:\x00"), []byte(""), []byte("\xf0\x9f\x92"), uint64(1)<<63, []byte{})
	f.Add([]byte(strings.Repeat("é", 400)), []byte("outbound"), []byte(strings.Repeat("x", 300)), uint64(0), []byte{1})
	coder := New()
	f.Fuzz(func(t *testing.T, address, connection, name []byte, size uint64, p []byte) {
		b := event.NewBuffer(64)
		coder.AppendEvent(b, &Message{
			Address: address, ConnectionType: connection, Type: name, Size: size, Payload: p,
		}, Hit{PID: 1})
		var e eventpb.Event
		if err := proto.Unmarshal(b.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		meta := e.GetEbpfExtractor().GetMessage().GetMeta()
		if len(meta.GetAddr()) > maxAddressText || len(meta.GetCommand()) > maxTypeText || meta.GetSize() != size {
			t.Fatalf("%v", meta)
		}
	})
}

// Every message type has its fuzz target.
func TestFuzzTargetsAreComplete(t *testing.T) {
	source, err := os.ReadFile("fuzz_test.go")
	if err != nil {
		t.Fatal(err)
	}
	fuzzed := map[string]bool{}
	for _, match := range regexp.MustCompile(`\nfunc Fuzz\w+\(f \*testing\.F\) +\{ fuzzType\(f, "(\w+)"\) \}`).FindAllSubmatch(source, -1) {
		fuzzed[string(match[1])] = true
	}
	for _, mt := range messageTypes() {
		if !fuzzed[mt.name] {
			t.Errorf("%s has no fuzz target", mt.name)
		}
	}
}
