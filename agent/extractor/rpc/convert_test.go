package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

var update = flag.Bool("update", false, "write the golden files anew")

// converterOf gives the converter of a method's first call.
func converterOf(t testing.TB, name string) convertFunc {
	for _, m := range methods() {
		if m.name == name {
			return m.calls[0].convert
		}
	}
	t.Fatalf("no method %q", name)
	return nil
}

// convert runs a converter and decodes what it wrote.
func convert(t testing.TB, name string, raw []byte) (*eventpb.RpcExtractor, problems) {
	t.Helper()
	var p problems
	// The JSON decoder hands on values without the space around them.
	body, err := converterOf(t, name)(bytes.TrimSpace(raw), &p)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	message := new(eventpb.RpcExtractor)
	if err := proto.Unmarshal(body, message); err != nil {
		t.Fatalf("%s: the encoded answer doesn't decode: %v", name, err)
	}
	return message, p
}

// TestGolden holds recorded answers (core-31.99, knots-29) and variants written by
// hand (the others) against the events they become.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimPrefix(file, "testdata/"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			got, p := convert(t, name, raw)
			if p.count != 0 || p.omitted != 0 {
				t.Errorf("problems with a real answer: %+v", p)
			}
			golden := strings.TrimSuffix(file, ".json") + ".event"
			if *update {
				text, err := protojson.MarshalOptions{Multiline: true, UseProtoNames: true}.Marshal(got)
				if err != nil {
					t.Fatal(err)
				}
				// protojson varies its spaces on purpose; the file shall not.
				var plain any
				if err := json.Unmarshal(text, &plain); err != nil {
					t.Fatal(err)
				}
				text, err = json.MarshalIndent(plain, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, append(text, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			want := new(eventpb.RpcExtractor)
			if err := protojson.Unmarshal(text, want); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

func TestUnits(t *testing.T) {
	mempool, _ := convert(t, "getmempoolinfo", []byte(
		`{"mempoolminfee":0.00001234,"minrelaytxfee":0.00000100,"incrementalrelayfee":1,"total_fee":0.5}`))
	info := mempool.GetMempoolInfo()
	if info.GetMempoolminfee() != 1.234 || info.GetMinrelaytxfee() != 0.1 || info.GetIncrementalrelayfee() != 100_000 {
		t.Errorf("fee rates of the mempool aren't sat/vB: %v", info)
	}
	if info.GetTotalFee() != 0.5 {
		t.Errorf("total fee isn't in BTC: %v", info.GetTotalFee())
	}
	peers, _ := convert(t, "getpeerinfo", []byte(`[{"minfeefilter":0.00001,"pingtime":0.25}]`))
	peer := peers.GetPeerInfos().GetInfos()[0]
	if peer.GetMinfeefilter() != 0.00001 || peer.GetPingTime() != 0.25 {
		t.Errorf("minfeefilter %v isn't BTC/kvB or ping time %v isn't seconds", peer.GetMinfeefilter(), peer.GetPingTime())
	}
	// All rates that a node can give are exact in thousandths of a satoshi.
	for sat := range int64(20_000) {
		text := fmt.Sprintf("0.%08d", sat)
		n, err := parseFloat([]byte(text))
		if err != nil || feeRate(n) != float64(sat)/1000 {
			t.Fatalf("%s BTC/kvB became %v sat/vB", text, feeRate(n))
		}
	}
}

func TestAbsentFields(t *testing.T) {
	got, p := convert(t, "getpeerinfo", []byte(`[{"id":0,"pingtime":null}]`))
	peer := got.GetPeerInfos().GetInfos()[0]
	if p.count != 0 {
		t.Errorf("problems: %+v", p)
	}
	absent := map[uint32]bool{}
	for _, number := range peer.GetAbsentFields() {
		absent[number] = true
	}
	fields := peer.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		number := uint32(fd.Number())
		if number >= 1000 || fd.IsList() || fd.IsMap() {
			if absent[number] {
				t.Errorf("%s is listed as absent", fd.Name())
			}
			continue
		}
		if !peer.ProtoReflect().Has(fd) {
			t.Errorf("%s isn't written, which older readers require", fd.Name())
		}
		if want := number != 1; absent[number] != want {
			t.Errorf("%s: listed as absent: %v, want %v", fd.Name(), absent[number], want)
		}
	}
	if peer.PresyncedHeaders != nil {
		t.Error("an added field is written although the node doesn't have it")
	}
}

func TestWrongTypesCostOnlyThemselves(t *testing.T) {
	got, p := convert(t, "getpeerinfo", []byte(`[
		{"id":-1,"addr":17,"version":4294967296,"inbound":"yes","lastsend":1.5,"bytessent":1e3,"pingtime":"0.1",
		 "inflight":[1,-1],"permissions":{"a":1},"bytessent_per_msg":[1],"bytesrecv_per_msg":{"inv":1},"synced_blocks":7.0},
		"no object", 17, {"id":5}]`))
	infos := got.GetPeerInfos().GetInfos()
	if len(infos) != 2 || infos[1].GetId() != 5 {
		t.Fatalf("peers: %v", infos)
	}
	peer := infos[0]
	if peer.GetBytesSent() != 1000 || peer.GetSyncedBlocks() != 7 || peer.GetBytesReceivedPerMessage()["inv"] != 1 {
		t.Errorf("well-formed values were lost: %v", peer)
	}
	// id, addr, version, inbound, lastsend, pingtime, inflight, permissions,
	// bytessent_per_msg and two entries.
	if p.count != 11 || p.first != "id" {
		t.Errorf("problems %+v, want 11 from id on", p)
	}
}

func TestPeersTextIsBounded(t *testing.T) {
	long := strings.Repeat("é", 200) // 400 bytes
	raw, err := json.Marshal([]map[string]any{{"subver": long + "\xff", "addr": "\xc3\x28", "network": "a\u0000b"}})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := convert(t, "getpeerinfo", raw)
	peer := got.GetPeerInfos().GetInfos()[0]
	if sub := peer.GetSubversion(); len(sub) > maxText || !utf8.ValidString(sub) || sub != strings.Repeat("é", 128) {
		t.Errorf("user agent of %d bytes: %q", len(sub), sub)
	}
	if !utf8.ValidString(peer.GetAddress()) {
		t.Errorf("address %q", peer.GetAddress())
	}
}

func TestHugeListsAreBounded(t *testing.T) {
	tips := "[" + strings.TrimSuffix(strings.Repeat(`{"height":1},`, maxEntries+5), ",") + "]"
	got, p := convert(t, "getchaintips", []byte(tips))
	if n := len(got.GetChainTips().GetTips()); n != maxEntries || p.omitted != 5 {
		t.Errorf("%d tips, %d omitted", n, p.omitted)
	}
	inflight := `[{"inflight":[` + strings.TrimSuffix(strings.Repeat("1,", maxList+9), ",") + `]}]`
	got, p = convert(t, "getpeerinfo", []byte(inflight))
	if n := len(got.GetPeerInfos().GetInfos()[0].GetInflight()); n != maxList || p.omitted != 1 {
		t.Errorf("%d heights in flight, %d lists cut", n, p.omitted)
	}
	var numbers []string
	for i := range maxOtherNumbers + 3 {
		numbers = append(numbers, fmt.Sprintf(`"n%03d":%d`, i, i))
	}
	got, p = convert(t, "getnetworkinfo", []byte("{"+strings.Join(numbers, ",")+"}"))
	if n := len(got.GetNetworkInfo().GetOtherNumbers()); n != maxOtherNumbers || p.omitted != 3 {
		t.Errorf("%d other numbers, %d omitted", n, p.omitted)
	}
}

func TestOtherNumbersOfANewerNode(t *testing.T) {
	got, _ := convert(t, "getnetworkinfo", []byte(
		`{"connections":3,"relaybacklog":{"in":{"count":17,"deep":{"er":{"too":1}}},"out":2.5},"flag":true,"list":[1]}`))
	want := map[string]float64{"relaybacklog.in.count": 17, "relaybacklog.out": 2.5}
	if got := got.GetNetworkInfo().GetOtherNumbers(); !reflect.DeepEqual(got, want) {
		t.Errorf("other numbers %v, want %v", got, want)
	}
}

// What Bitcoin Core 32 says of its relay in getnetworkinfo (rpc/net.cpp).
func TestAnnouncementBacklogOfCore32(t *testing.T) {
	got, _ := convert(t, "getnetworkinfo", []byte(
		`{"version":320000,"tx_send_rate":14,"inv_buckets":{"inbound":{"backlog":21000,"count_tok":0.5,"size_tok":-12.25},"outbound":{"backlog":3,"count_tok":420,"size_tok":12e6}}}`))
	want := map[string]float64{
		"tx_send_rate": 14, "inv_buckets.inbound.backlog": 21_000, "inv_buckets.inbound.count_tok": 0.5, "inv_buckets.inbound.size_tok": -12.25,
		"inv_buckets.outbound.backlog": 3, "inv_buckets.outbound.count_tok": 420, "inv_buckets.outbound.size_tok": 12e6,
	}
	if got := got.GetNetworkInfo().GetOtherNumbers(); !reflect.DeepEqual(got, want) {
		t.Errorf("other numbers %v, want %v", got, want)
	}
}

// addrmanAnswer is an answer of getrawaddrman with full buckets of the longest
// addresses.
func addrmanAnswer(newBuckets, triedBuckets int) []byte {
	var b strings.Builder
	table := func(buckets int) {
		for bucket := range buckets {
			for position := range 64 {
				if bucket+position > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, `"%d/%d":{"address":%q,"port":8333,"network":"onion","services":3081,"time":1713571767,"source":%q,"source_network":"onion","mapped_as":4294967295,"source_mapped_as":4294967295}`,
					bucket, position, longestAddress, longestAddress)
			}
		}
	}
	b.WriteString(`{"new":{`)
	table(newBuckets)
	b.WriteString(`},"tried":{`)
	table(triedBuckets)
	b.WriteString(`}}`)
	return []byte(b.String())
}

const longestAddress = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion"

// TestFullAddressManager: as large as Bitcoin Core's can get, it fits into an event.
func TestFullAddressManager(t *testing.T) {
	// A sixteenth, for the sake of time under the race detector.
	const part = 16
	got, p := convert(t, "getrawaddrman", addrmanAnswer(1024/part, 256/part))
	addrman := got.GetAddrman()
	entries := 0
	for _, table := range []map[uint32]*eventpb.AddrmanBucket{addrman.GetNew(), addrman.GetTried()} {
		for _, bucket := range table {
			entries += len(bucket.GetEntries())
		}
	}
	if want := (65_536 + 16_384) / part; entries != want || p.omitted != 0 || addrman.Omitted != nil {
		t.Errorf("%d entries, %d omitted, want %d and none", entries, p.omitted, want)
	}
	// Bucket numbers of the whole take up to one byte more.
	size := part*(proto.Size(got)+1024/part) + 16
	if size > event.MaxSize {
		t.Errorf("%d bytes are more than an event takes", size)
	}
	if got := addrman.GetNew()[63].GetEntries()[63]; got.GetAddress() != longestAddress || got.GetSourceMappedAs() != 4294967295 || got.GetTime() != 1713571767 {
		t.Errorf("entry 63/63: %v", got)
	}
}

func TestAddressManagerLargerThanAnEvent(t *testing.T) {
	const limit = 100_000
	var p problems
	body, err := convertAddrmanWithin(limit, addrmanAnswer(20, 4), &p)
	if err != nil {
		t.Fatal(err)
	}
	got := new(eventpb.RpcExtractor)
	if err := proto.Unmarshal(body, got); err != nil {
		t.Fatal(err)
	}
	carried := 0
	for _, bucket := range got.GetAddrman().GetNew() {
		carried += len(bucket.GetEntries())
	}
	for _, bucket := range got.GetAddrman().GetTried() {
		carried += len(bucket.GetEntries())
	}
	omitted := int(got.GetAddrman().GetOmitted())
	if carried+omitted != 24*64 || omitted == 0 || uint64(omitted) != p.omitted {
		t.Errorf("%d entries carried and %d omitted (%d counted) of %d", carried, omitted, p.omitted, 24*64)
	}
	if len(body) > limit+100 || len(body) < limit*3/4 {
		t.Errorf("%d bytes with a limit of %d", len(body), limit)
	}
}

func TestAddressManagerMalformed(t *testing.T) {
	got, p := convert(t, "getrawaddrman", []byte(`{
		"new":{"1/1":{"address":"1.1.1.1","port":70000},"x/1":{},"70000/1":{},"2/2":"text","3/3":{"address":"3.3.3.3","time":-5}},
		"third":{"1/1":{}}}`))
	if n := len(got.GetAddrman().GetNew()); n != 1 {
		t.Errorf("%d buckets, want the one well-formed", n)
	}
	if e := got.GetAddrman().GetNew()[3].GetEntries()[3]; e.GetAddress() != "3.3.3.3" || e.GetTime() != -5 {
		t.Errorf("entry 3/3: %v", e)
	}
	if p.count != 5 {
		t.Errorf("problems %+v, want 5", p)
	}
	for _, raw := range []string{`[]`, `{"new":[]}`, `{"new":{"1/1":{}}`, `{"new":{"1/1":{}`, `{`, ``, `null`, `7`} {
		if _, err := convertAddrman([]byte(raw), new(problems)); !errors.Is(err, errMalformed) {
			t.Errorf("%q gives %v", raw, err)
		}
	}
}

func TestOrphans(t *testing.T) {
	id := strings.Repeat("00", 31) + "ab"
	const limit = 30_000
	hexBody := strings.Repeat("cd", limit/3)
	entry := fmt.Sprintf(`{"txid":%q,"wtxid":%q,"from":[1],"hex":%q}`, id, id, hexBody)
	var p problems
	body, err := convertOrphanTxsWithin(limit, []byte("["+strings.Repeat(entry+",", 4)+`{"txid":"zz","hex":"0"}]`), &p)
	if err != nil {
		t.Fatal(err)
	}
	got := new(eventpb.RpcExtractor)
	if err := proto.Unmarshal(body, got); err != nil {
		t.Fatal(err)
	}
	orphans := got.GetOrphanTxs().GetOrphans()
	if len(orphans) != 5 {
		t.Fatalf("%d orphans, want 5", len(orphans))
	}
	carried := 0
	for _, o := range orphans {
		carried += len(o.GetTransaction().GetRaw())
		if o.GetTransaction() == nil {
			t.Error("an orphan without transaction, which older readers require")
		}
	}
	if carried > limit || carried < limit/2 {
		t.Errorf("%d bytes of transactions carried", carried)
	}
	if first := orphans[0].GetTransaction().GetTxid(); len(first) != 32 || first[0] != 0xab || first[31] != 0 {
		t.Errorf("txid %x isn't in internal order", first)
	}
	if orphans[4].GetTransaction().Txid != nil || p.count != 1 {
		t.Errorf("a malformed orphan: %v, %+v", orphans[4], p)
	}
}

func TestUselessAnswersAreErrors(t *testing.T) {
	for _, m := range methods() {
		for _, raw := range []string{`null`, `"text"`, `true`, `{]`, ``} {
			if m.name == "uptime" && raw == "" {
				continue
			}
			var p problems
			if body, err := m.calls[0].convert([]byte(raw), &p); !errors.Is(err, errMalformed) {
				t.Errorf("%s: %q gives %x, %v", m.name, raw, body, err)
			}
		}
	}
}

// FuzzConvert feeds every converter anything: no panic, and an answer that is taken
// decodes, in bounds.
func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil {
		f.Fatal(err)
	}
	table := methods()
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for i, m := range table {
			if m.name == strings.TrimSuffix(filepath.Base(file), ".json") {
				f.Add(uint8(i), raw)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		m := table[int(which)%len(table)]
		var p problems
		body, err := m.calls[0].convert(raw, &p)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("%s: an error of another kind: %v", m.name, err)
			}
			return
		}
		message := new(eventpb.RpcExtractor)
		if err := proto.Unmarshal(body, message); err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		if message.GetRpcEvent() == nil {
			t.Fatalf("%s: an answer that says nothing", m.name)
		}
		if len(body) > event.MaxSize {
			t.Fatalf("%s: %d bytes", m.name, len(body))
		}
	})
}

// BenchmarkPeerInfo is the answer of a node with 125 peers.
func BenchmarkPeerInfo(b *testing.B) {
	raw, err := os.ReadFile("testdata/core-30/getpeerinfo.json")
	if err != nil {
		b.Fatal(err)
	}
	one := strings.Trim(strings.TrimSpace(string(raw)), "[]")
	all := []byte("[" + strings.TrimSuffix(strings.Repeat(one+",", 125), ",") + "]")
	b.SetBytes(int64(len(all)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := convertPeerInfo(all, new(problems)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFullAddressManager is the largest answer there is.
func BenchmarkFullAddressManager(b *testing.B) {
	raw := addrmanAnswer(1024, 256)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		var p problems
		body, err := convertAddrman(raw, &p)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(body)), "event-bytes")
		b.ReportMetric(float64(p.omitted), "omitted")
	}
}
