package websocket_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/websocket"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func bulky(msg *eventpb.MessageEvent, command string) *eventpb.Event {
	msg.Meta = &eventpb.Metadata{PeerId: proto.Uint64(1), Addr: proto.String("192.0.2.1:8333"), Command: proto.String(command), Inbound: proto.Bool(true), Size: proto.Uint64(1e6)}
	return ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: msg}})
}

func repeated[T any](n int, one func() T) []T {
	list := []T{}
	for range n {
		list = append(list, one())
	}
	return list
}

// Brief events are small, whatever they tell, and keep counts and what identifies them.
func TestBrief(t *testing.T) {
	hash := func() []byte { return bytes.Repeat([]byte{7}, 32) }
	transaction := func() *eventpb.Transaction {
		return &eventpb.Transaction{Txid: hash(), Wtxid: hash(), Raw: make([]byte, 500)}
	}
	header := &eventpb.BlockHeader{Hash: hash()}
	transactions := repeated(4000, func() *eventpb.InventoryItem {
		return &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Wtx{Wtx: hash()}}
	})
	block := &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Block{Block: bytes.Repeat([]byte{9}, 32)}}
	address := func() *eventpb.Address {
		return &eventpb.Address{Address: &eventpb.Address_Ipv4{Ipv4: "192.0.2.9"}, Port: proto.Uint32(8333)}
	}
	// The largest event may still be on its way when the next one comes.
	r := newRig(t, websocket.Config{ClientBuffer: 16 << 20})
	brief := r.client(`{"filters":[{}],"brief":true,"notices":true}`).started()
	full := r.client(`{"filters":[{}],"notices":true}`).started()
	emitter := r.emitter(event.SourceEBPF, "n")
	for _, test := range []struct {
		command string
		event   *eventpb.MessageEvent
		count   uint64
		keeps   string
	}{
		{"inv", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: append(transactions, block)}}}, 4001, "CQkJ"},
		{"getdata", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: transactions}}}, 4000, "wtx"},
		{"notfound", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Notfound{Notfound: &eventpb.NotFound{Items: transactions}}}, 4000, "wtx"},
		{"headers", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Headers{Headers: &eventpb.Headers{Headers: repeated(2000, func() *eventpb.BlockHeader { return header })}}}, 2000, "hash"},
		{"addr", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Addr{Addr: &eventpb.Addr{Addresses: repeated(1000, address)}}}, 1000, "192.0.2.9"},
		{"addrv2", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Addrv2{Addrv2: &eventpb.AddrV2{Addresses: repeated(1000, address)}}}, 1000, "192.0.2.9"},
		{"block", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Block{Block: &eventpb.Block{Header: header, Transactions: repeated(3000, transaction)}}}, 3000, "BwcH"},
		{"cmpctblock", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Compactblock{Compactblock: &eventpb.CompactBlock{
			Header: header, ShortIds: repeated(3000, func() []byte { return make([]byte, 6) }),
		}}}, 3000, "BwcH"},
		{"blocktxn", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Blocktxn{Blocktxn: &eventpb.BlockTxn{BlockHash: hash(), Transactions: repeated(100, transaction)}}}, 100, "BwcH"},
		{"getblocktxn", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getblocktxn{Getblocktxn: &eventpb.GetBlockTxn{BlockHash: hash(), TxIndexes: make([]uint64, 3000)}}}, 3000, "BwcH"},
		{"tx", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: &eventpb.Transaction{Txid: hash(), Raw: make([]byte, 100_000)}}}}, 0, "BwcH"},
		{"getheaders", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getheaders{Getheaders: &eventpb.GetHeaders{LocatorHashes: repeated(101, hash), StopHash: hash()}}}, 101, "stop_hash"},
		{"getblocks", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getblocks{Getblocks: &eventpb.GetBlocks{LocatorHashes: repeated(101, hash), StopHash: hash()}}}, 101, "stop_hash"},
		{"strange", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Unknown{Unknown: &eventpb.Unknown{Command: proto.String("strange"), Payload: make([]byte, 1e6)}}}, 0, "strange"},
		{"merkleblock", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Merkleblock{Merkleblock: &eventpb.MerkleBlock{Header: header, Hashes: repeated(3000, hash)}}}, 0, "BwcH"},
		{"cfilter", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Cfilter{Cfilter: &eventpb.CFilter{BlockHash: hash(), Filter: make([]byte, 20_000)}}}, 0, "BwcH"},
		{"cfheaders", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Cfheaders{Cfheaders: &eventpb.CFHeaders{StopHash: hash(), FilterHashes: repeated(2000, hash)}}}, 0, "stop_hash"},
		{"cfcheckpt", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Cfcheckpt{Cfcheckpt: &eventpb.CFCheckpt{StopHash: hash(), FilterHeaders: repeated(800, hash)}}}, 0, "stop_hash"},
		{"filterload", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Filterload{Filterload: &eventpb.FilterLoad{Filter: make([]byte, 36_000), HashFuncs: proto.Uint32(3)}}}, 0, "hash_funcs"},
		{"filteradd", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Filteradd{Filteradd: &eventpb.FilterAdd{Filter: make([]byte, 36_000)}}}, 0, "filteradd"},
		{"alert", &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Alert{Alert: &eventpb.Alert{Alert: make([]byte, 36_000)}}}, 0, "alert"},
	} {
		emitter.Emit(bulky(test.event, test.command), event.Times{})
		short, long := brief.frame(), full.frame()
		if len(short) > 4000 || len(long) < 4000 {
			t.Errorf("%s: %d bytes in brief, %d in full", test.command, len(short), len(long))
		}
		if !strings.Contains(short, test.keeps) {
			t.Errorf("%s: %q is not in %s", test.command, test.keeps, short)
		}
		decoded := new(eventpb.Event)
		if err := protojson.Unmarshal([]byte(short), decoded); err != nil {
			t.Errorf("%s: %v", test.command, err)
		}
		m := decoded.GetEbpfExtractor().GetMessage()
		if m.GetElementCount() != test.count || m.GetMeta().GetSize() != 1e6 {
			t.Errorf("%s: %d elements, size %d", test.command, m.GetElementCount(), m.GetMeta().GetSize())
		}
	}
}

// A subscription begins with what is retained: the last state and the last blocks.
func TestRetained(t *testing.T) {
	r := newRig(t, websocket.Config{})
	everything(r)
	rpc := r.emitter(event.SourceRPC, "one")
	rpc.Emit(uptime(100), event.Times{})
	ebpf := r.emitter(event.SourceEBPF, "one")
	for height := range 1500 {
		ebpf.Emit(blockConnected(int32(height)), event.Times{})
	}
	inv := func(item *eventpb.InventoryItem) *eventpb.Event {
		return bulky(&eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: []*eventpb.InventoryItem{item}}}}, "inv")
	}
	ebpf.Emit(inv(&eventpb.InventoryItem{Item: &eventpb.InventoryItem_Wtx{Wtx: make([]byte, 32)}}), event.Times{})
	ebpf.Emit(inv(&eventpb.InventoryItem{Item: &eventpb.InventoryItem_Block{Block: make([]byte, 32)}}), event.Times{})
	// A subscription after the last of them is in force.
	waiting := r.client(`{"log":true,"notices":true}`).started()
	r.emitter(event.SourceLog, "x").Emit(logLine("x"), event.Times{})
	waiting.events(1)

	read := func(filter string) (lines []string) {
		c := r.client(fmt.Sprintf(`{"filters":[%s],"retained":true,"notices":true}`, filter)).started()
		for {
			line := c.frame()
			if s := parse(t, line); s.Notice != nil && s.Notice.Retained {
				return lines
			}
			lines = append(lines, line)
		}
	}
	state := read(`{"nodes":["one"],"sources":["rpc","p2p","observer","log"]}`)
	if len(state) != 3 || !strings.Contains(strings.Join(state, ""), `"uptime":100`) {
		t.Errorf("state: %s", state)
	}
	blocks := read(`{"nodes":["one"],"sources":["ebpf"]}`)
	if len(blocks) != 1024 || !strings.Contains(blocks[0], `"height":477`) || !strings.Contains(blocks[len(blocks)-1], `"block":`) {
		t.Errorf("%d block events, from %s to %s", len(blocks), blocks[0], blocks[len(blocks)-1])
	}
	if announced := read(`{"nodes":["one"],"messages":["inv"],"peers":["1"]}`); len(announced) != 1 {
		t.Errorf("announcements: %s", announced)
	}
}

// The pages come with headers that let them load only each other.
func TestPages(t *testing.T) {
	r := newRig(t, websocket.Config{})
	get := func(path string) (*http.Response, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := r.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(content)
	}
	for path, kind := range map[string]string{"/": "text/html", "/style.css": "text/css", "/js/main.js": "text/javascript", "/icon.svg": "image/svg+xml"} {
		response, content := get(path)
		if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), kind) || content == "" {
			t.Errorf("%s: %d, %s, %d bytes", path, response.StatusCode, response.Header.Get("Content-Type"), len(content))
		}
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, response.Header)
		}
	}
	for _, path := range []string{"/js/", "/nothing", "/js/nothing.js"} {
		if response, _ := get(path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
}

// Text from peers gets into the pages as text only, and nothing is loaded from elsewhere.
func TestPagesAreHarmless(t *testing.T) {
	dangerous := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setTimeout\("|srcdoc|createContextualFragment|style="| on[a-z]+="`)
	elsewhere := regexp.MustCompile(`https?://[^"'\s]+`)
	files := 0
	err := fs.WalkDir(os.DirFS("pages"), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile("pages/" + path)
		if err != nil {
			return err
		}
		if found := dangerous.Find(content); found != nil {
			t.Errorf("%s has %s", path, found)
		}
		for _, address := range elsewhere.FindAllString(string(content), -1) {
			if address != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %s", path, address)
			}
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, %v", files, err)
	}
}
