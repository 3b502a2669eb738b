package decode_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// fill sets every field of a message to a random value, lists to up to four elements
// and one case of each oneof.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	d := m.Descriptor()
	chosen := map[protoreflect.Name]protoreflect.FieldNumber{}
	for i := range d.Oneofs().Len() {
		if o := d.Oneofs().Get(i); !o.IsSynthetic() {
			chosen[o.Name()] = o.Fields().Get(r.IntN(o.Fields().Len())).Number()
		}
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() && chosen[o.Name()] != f.Number() {
			continue
		}
		if r.IntN(8) == 0 && f.ContainingOneof() == nil {
			continue
		}
		switch {
		case f.IsMap():
			values := m.Mutable(f).Map()
			for range r.IntN(4) {
				value := values.NewValue()
				if f.MapValue().Message() != nil {
					fill(r, value.Message(), depth+1)
				} else {
					value = scalar(r, f.MapValue())
				}
				values.Set(scalar(r, f.MapKey()).MapKey(), value)
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for range r.IntN(5) {
				if f.Message() != nil {
					element := list.NewElement()
					fill(r, element.Message(), depth+1)
					list.Append(element)
				} else {
					list.Append(scalar(r, f))
				}
			}
		case f.Message() != nil:
			fill(r, m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, scalar(r, f))
		}
	}
}

func scalar(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	text := func() string {
		return []string{"", "inv", "1.2.3.4:8333", "getcfcheckpt", "abc.onion:833", "x", "sizelimit"}[r.IntN(7)]
	}
	n := r.Uint64() >> r.IntN(64)
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n&1 == 1)
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(r.IntN(values.Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.Float64())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text())
	case protoreflect.BytesKind:
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return protoreflect.ValueOfBytes(b)
	default:
		panic("a kind of field that no event has: " + f.Kind().String())
	}
}

func randomEBPF(r *rand.Rand) *eventpb.EbpfExtractor {
	x := new(eventpb.EbpfExtractor)
	fill(r, x.ProtoReflect(), 0)
	return x
}

func encode(t testing.TB, e *eventpb.Event) []byte {
	t.Helper()
	data, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAgainstGeneratedTypes holds the decoder against the generated types for random
// events of every kind.
func TestAgainstGeneratedTypes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	kinds := map[event.Kind]int{}
	types := map[decode.MessageType]int{}
	var d decode.Event
	for range 6000 {
		x := randomEBPF(r)
		name := "node"
		data := encode(t, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: x}, NodeName: &name})
		want := event.KindOf(data)
		if ok := d.Decode(event.SourceEBPF, data); ok != (want != event.KindUnknown) || d.Kind != want {
			t.Fatalf("kind %v (%v), want %v: %v", d.Kind, ok, want, x)
		}
		kinds[want]++
		hit := x.GetHit()
		if got := (decode.Hit{PID: hit.GetPid(), TID: hit.GetTid(), CPU: hit.GetCpu(), ThreadCPUTime: hit.GetThreadCpuTimeNs()}); d.Hit != got {
			t.Fatalf("hit %+v, want %+v", d.Hit, got)
		}
		switch body := x.GetEbpfEvent().(type) {
		case *eventpb.EbpfExtractor_Message:
			types[d.Message.Type]++
			compareMessage(t, &d.Message, body.Message)
		case *eventpb.EbpfExtractor_Connection:
			compareConnection(t, &d, body.Connection)
		case *eventpb.EbpfExtractor_Mempool:
			compareMempool(t, &d.Mempool, body.Mempool)
		case *eventpb.EbpfExtractor_Validation:
			compareValidation(t, &d.Validation, body.Validation)
		}
	}
	for k := event.KindMessage; k <= event.KindUTXOCacheUncache; k++ {
		if kinds[k] == 0 {
			t.Errorf("no event of kind %s was tried", k)
		}
	}
}

// typed is a message with the type of a connection.
type typed interface {
	ProtoReflect() protoreflect.Message
	GetConnectionType() eventpb.ConnectionType
	GetConnType() eventpb.ConnType
}

// connectionType is the type of a connection, which events of the existing tools give
// in the old field alone.
func connectionType(m typed) eventpb.ConnectionType {
	fields := m.ProtoReflect().Descriptor().Fields()
	if m.ProtoReflect().Has(fields.ByName("connection_type")) {
		return m.GetConnectionType()
	}
	return m.GetConnType().ConnectionType()
}

func compareMessage(t *testing.T, m *decode.Message, x *eventpb.MessageEvent) {
	t.Helper()
	meta := x.GetMeta()
	same := m.PeerID == meta.GetPeerId() && string(m.Address) == meta.GetAddr() && m.ConnectionType == connectionType(meta) &&
		string(m.Command) == meta.GetCommand() && m.Inbound == meta.GetInbound() && m.Size == meta.GetSize() &&
		m.PayloadState == x.GetPayloadState() && m.CapturedSize == x.GetCapturedSize() &&
		m.TrailingBytes == x.GetTrailingBytes() && m.ElementCount == x.GetElementCount() && m.HasCount == (x.ElementCount != nil)
	if !same {
		t.Fatalf("message %+v, want %v", m, x)
	}
	switch body := x.GetMsg().(type) {
	case *eventpb.MessageEvent_Ping:
		nonce, ok := decode.NonceOf(m.Body)
		if nonce != body.Ping.GetValue() || ok != (body.Ping.Value != nil) {
			t.Fatalf("nonce %d %v, want %v", nonce, ok, body.Ping)
		}
	case *eventpb.MessageEvent_Pong:
		if nonce, _ := decode.NonceOf(m.Body); nonce != body.Pong.GetValue() {
			t.Fatalf("nonce %d, want %v", nonce, body.Pong)
		}
	case *eventpb.MessageEvent_Inv:
		compareItems(t, m.Body, body.Inv.GetItems())
	case *eventpb.MessageEvent_Getdata:
		compareItems(t, m.Body, body.Getdata.GetItems())
	case *eventpb.MessageEvent_Notfound:
		compareItems(t, m.Body, body.Notfound.GetItems())
	case *eventpb.MessageEvent_Addr:
		compareAddresses(t, m.Body, body.Addr.GetAddresses())
	case *eventpb.MessageEvent_Addrv2:
		compareAddresses(t, m.Body, body.Addrv2.GetAddresses())
	case *eventpb.MessageEvent_Feefilter:
		if fee, ok := decode.FeeFilterOf(m.Body); fee != body.Feefilter.GetFee() || ok != (body.Feefilter.Fee != nil) {
			t.Fatalf("fee %d %v, want %v", fee, ok, body.Feefilter)
		}
	case *eventpb.MessageEvent_Version:
		v, ok := decode.VersionOf(m.Body)
		w := body.Version
		if !ok || v.Version != w.GetVersion() || v.Services != w.GetServices() || v.Nonce != w.GetNonce() ||
			string(v.UserAgent) != w.GetUserAgent() || v.Height != w.GetStartHeight() || v.Relay != w.GetRelay() {
			t.Fatalf("version %+v, want %v", v, w)
		}
	case *eventpb.MessageEvent_Reject:
		command, reason, ok := decode.RejectOf(m.Body)
		if !ok || string(command) != body.Reject.GetRejectedCommand() || reason != body.Reject.GetReason() {
			t.Fatalf("reject %q %v, want %v", command, reason, body.Reject)
		}
	case *eventpb.MessageEvent_Sendcompact:
		if high, ok := decode.HighBandwidthOf(m.Body); !ok || high != body.Sendcompact.GetSendCompact() {
			t.Fatalf("sendcmpct %v, want %v", high, body.Sendcompact)
		}
	case *eventpb.MessageEvent_Tx:
		txid, wtxid, size, _ := decode.TransactionOf(m.Body)
		tx := body.Tx.GetTx()
		if !bytes.Equal(txid, tx.GetTxid()) || !bytes.Equal(wtxid, tx.GetWtxid()) || size != len(tx.GetRaw()) {
			t.Fatalf("tx %x %x %d, want %v", txid, wtxid, size, tx)
		}
	case *eventpb.MessageEvent_Headers:
		it := decode.HeadersOf(m.Body)
		for _, want := range body.Headers.GetHeaders() {
			if !it.Next() {
				t.Fatal("headers end early")
			}
			compareHeader(t, it.Header, want)
		}
		if it.Next() {
			t.Fatal("too many headers")
		}
	case *eventpb.MessageEvent_Block:
		if h, ok := decode.BlockHeaderOf(m.Body); ok {
			compareHeader(t, h, body.Block.GetHeader())
		}
	case *eventpb.MessageEvent_Compactblock:
		if h, ok := decode.BlockHeaderOf(m.Body); ok {
			compareHeader(t, h, body.Compactblock.GetHeader())
		}
	case *eventpb.MessageEvent_Getblocktxn:
		if hash, _ := decode.BlockHashOf(m.Body); !bytes.Equal(hash, body.Getblocktxn.GetBlockHash()) {
			t.Fatalf("getblocktxn %x, want %v", hash, body.Getblocktxn)
		}
	case *eventpb.MessageEvent_Blocktxn:
		if hash, _ := decode.BlockHashOf(m.Body); !bytes.Equal(hash, body.Blocktxn.GetBlockHash()) {
			t.Fatalf("blocktxn %x, want %v", hash, body.Blocktxn)
		}
	}
}

func compareHeader(t *testing.T, h decode.Header, want *eventpb.BlockHeader) {
	t.Helper()
	if !bytes.Equal(h.Hash, want.GetHash()) || !bytes.Equal(h.Previous, want.GetPrevBlockhash()) || h.Time != want.GetTime() {
		t.Fatalf("header %+v, want %v", h, want)
	}
}

func compareItems(t *testing.T, body []byte, want []*eventpb.InventoryItem) {
	t.Helper()
	it := decode.ItemsOf(body)
	for _, w := range want {
		if !it.Next() {
			t.Fatal("items end early")
		}
		var hash []byte
		kind := decode.ItemUnknown
		switch item := w.GetItem().(type) {
		case *eventpb.InventoryItem_Transaction:
			kind, hash = decode.ItemTransaction, item.Transaction
		case *eventpb.InventoryItem_Wtx:
			kind, hash = decode.ItemWTX, item.Wtx
		case *eventpb.InventoryItem_WitnessTransaction:
			kind, hash = decode.ItemWitnessTransaction, item.WitnessTransaction
		case *eventpb.InventoryItem_Block:
			kind, hash = decode.ItemBlock, item.Block
		case *eventpb.InventoryItem_WitnessBlock:
			kind, hash = decode.ItemWitnessBlock, item.WitnessBlock
		case *eventpb.InventoryItem_CompactBlock:
			kind, hash = decode.ItemCompactBlock, item.CompactBlock
		case *eventpb.InventoryItem_Error:
			kind = decode.ItemError
		}
		if it.Type != kind || !bytes.Equal(it.Hash, hash) {
			t.Fatalf("item %d %x, want %v", it.Type, it.Hash, w)
		}
	}
	if it.Next() {
		t.Fatal("too many items")
	}
}

func compareAddresses(t *testing.T, body []byte, want []*eventpb.Address) {
	t.Helper()
	it := decode.AddressesOf(body)
	for _, w := range want {
		if !it.Next() {
			t.Fatal("addresses end early")
		}
		text, network := "", decode.AddressUnknown
		switch a := w.GetAddress().(type) {
		case *eventpb.Address_Ipv4:
			text, network = a.Ipv4, decode.AddressIPv4
		case *eventpb.Address_Ipv6:
			text, network = a.Ipv6, decode.AddressIPv6
		case *eventpb.Address_Torv2:
			text, network = a.Torv2, decode.AddressTorV2
		case *eventpb.Address_Torv3:
			text, network = a.Torv3, decode.AddressTorV3
		case *eventpb.Address_I2P:
			text, network = a.I2P, decode.AddressI2P
		case *eventpb.Address_Cjdns:
			text, network = a.Cjdns, decode.AddressCJDNS
		case *eventpb.Address_Unknown:
			text = string(a.Unknown.GetAddress())
		}
		if it.Network != network || string(it.Text) != text || it.Time != w.GetTimestamp() ||
			it.Services != w.GetServices() || it.Port != uint16(w.GetPort()) {
			t.Fatalf("address %+v, want %v", it.Address, w)
		}
	}
	if it.Next() {
		t.Fatal("too many addresses")
	}
}

func compareConnection(t *testing.T, d *decode.Event, x *eventpb.ConnectionEvent) {
	t.Helper()
	c := d.Connection
	var conn *eventpb.Connection
	var established, existing uint64
	switch body := x.GetEvent().(type) {
	case *eventpb.ConnectionEvent_Closed:
		conn, established = body.Closed.GetConn(), body.Closed.GetTimeEstablished()
	case *eventpb.ConnectionEvent_InboundEvicted:
		conn, established = body.InboundEvicted.GetConn(), body.InboundEvicted.GetTimeEstablished()
	case *eventpb.ConnectionEvent_Inbound:
		conn, existing = body.Inbound.GetConn(), body.Inbound.GetExistingConnections()
	case *eventpb.ConnectionEvent_Outbound:
		conn, existing = body.Outbound.GetConn(), body.Outbound.GetExistingConnections()
	case *eventpb.ConnectionEvent_Misbehaving:
		if c.PeerID != body.Misbehaving.GetId() || string(c.Reason) != body.Misbehaving.GetMessage() {
			t.Fatalf("misbehaving %+v, want %v", c, body.Misbehaving)
		}
		return
	}
	if c.PeerID != conn.GetPeerId() || string(c.Address) != conn.GetAddr() || c.ConnectionType != connectionType(conn) ||
		c.Network != conn.GetNetwork() || c.Established != established || c.Existing != existing {
		t.Fatalf("connection %+v, want %v", c, x)
	}
}

func compareMempool(t *testing.T, m *decode.Mempool, x *eventpb.MempoolEvent) {
	t.Helper()
	same := true
	switch b := x.GetEvent().(type) {
	case *eventpb.MempoolEvent_Added:
		same = bytes.Equal(m.TxID, b.Added.GetTxid()) && m.VSize == b.Added.GetVsize() && m.Fee == b.Added.GetFee()
	case *eventpb.MempoolEvent_Removed:
		same = bytes.Equal(m.TxID, b.Removed.GetTxid()) && m.VSize == b.Removed.GetVsize() && m.Fee == b.Removed.GetFee() &&
			string(m.Reason) == b.Removed.GetReason() && m.EntryTime == b.Removed.GetEntryTime()
	case *eventpb.MempoolEvent_Rejected:
		same = bytes.Equal(m.TxID, b.Rejected.GetTxid()) && string(m.Reason) == b.Rejected.GetReason()
	case *eventpb.MempoolEvent_Replaced:
		r := b.Replaced
		same = bytes.Equal(m.TxID, r.GetReplacedTxid()) && m.VSize == r.GetReplacedVsize() && m.Fee == r.GetReplacedFee() &&
			m.EntryTime == r.GetReplacedEntryTime() && bytes.Equal(m.ReplacementID, r.GetReplacementId()) &&
			m.ReplacementVSize == r.GetReplacementVsize() && m.ReplacementFee == r.GetReplacementFee() &&
			m.ByTransaction == r.GetReplacedByTransaction()
	}
	if !same {
		t.Fatalf("mempool %+v, want %v", m, x)
	}
}

func compareValidation(t *testing.T, v *decode.Validation, x *eventpb.ValidationEvent) {
	t.Helper()
	same := true
	switch b := x.GetEvent().(type) {
	case *eventpb.ValidationEvent_BlockConnected:
		c := b.BlockConnected
		same = bytes.Equal(v.Hash, c.GetHash()) && v.Height == c.GetHeight() && v.Transactions == c.GetTransactions() &&
			v.Inputs == c.GetInputs() && v.SigOps == c.GetSigops() && v.ConnectTime == c.GetConnectionTime()
	case *eventpb.ValidationEvent_BlockHeader:
		h := b.BlockHeader
		same = bytes.Equal(v.Hash, h.GetHash()) && v.Height == h.GetHeight() && v.PeerID == h.GetPeerId() && v.ViaCompactBlock == h.GetViaCompactBlock()
	case *eventpb.ValidationEvent_CompactBlockReconstructed:
		c := b.CompactBlockReconstructed
		same = bytes.Equal(v.Hash, c.GetHash()) && v.PeerID == c.GetPeerId() && v.Prefilled == c.GetPrefilledTransactions() &&
			v.FromMempool == c.GetMempoolTransactions() && v.FromExtraPool == c.GetExtraPoolTransactions() &&
			v.Requested == c.GetRequestedTransactions() && v.RequestedBytes == c.GetRequestedBytes()
	}
	if !same {
		t.Fatalf("validation %+v, want %v", v, x)
	}
}

// Every message type that Bitcoin Core knows has a type of its own, and its name is what
// it is found by; those that lost a letter on the way are found too.
func TestMessageTypes(t *testing.T) {
	seen := map[decode.MessageType]string{}
	for _, name := range []string{
		"version", "verack", "addr", "addrv2", "sendaddrv2", "inv", "getdata", "merkleblock", "getblocks", "getheaders",
		"tx", "headers", "block", "getaddr", "mempool", "ping", "pong", "notfound", "filterload", "filteradd",
		"filterclear", "sendheaders", "feefilter", "sendcmpct", "cmpctblock", "getblocktxn", "blocktxn", "getcfilters",
		"cfilter", "getcfheaders", "cfheaders", "getcfcheckpt", "cfcheckpt", "wtxidrelay", "sendtxrcncl", "feature",
	} {
		got := typeOf(t, name)
		if got == decode.MessageOther || got.String() != name || seen[got] != "" {
			t.Errorf("%s: type %v", name, got)
		}
		seen[got] = name
		if len(name) > 11 && typeOf(t, name[:11]) != got {
			t.Errorf("%s is not found by its first 11 letters", name)
		}
	}
	for _, name := range []string{"", "other", "Inv", "inv\x00", "xyz", "\xff\xff"} {
		if got := typeOf(t, name); got != decode.MessageOther {
			t.Errorf("%q: type %v", name, got)
		}
	}
}

// typeOf sends the name through an event; text that isn't UTF-8 as a foreign producer
// may.
func typeOf(t *testing.T, name string) decode.MessageType {
	t.Helper()
	meta := append([]byte{0x22, byte(len(name))}, name...)
	message := append([]byte{0x0a, byte(len(meta))}, meta...)
	ebpf := append([]byte{0x0a, byte(len(message))}, message...)
	data := append([]byte{0x0a, byte(len(ebpf))}, ebpf...)
	var d decode.Event
	if !d.Decode(event.SourceEBPF, data) {
		t.Fatalf("%q is not decoded", name)
	}
	return d.Message.Type
}

func TestAddrmanEntries(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		want := new(eventpb.Addrman)
		fill(r, want.ProtoReflect(), 0)
		data := encode(t, &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{
			RpcEvent: &eventpb.RpcExtractor_Addrman{Addrman: want}, CallDurationNs: proto.Uint64(77),
		}}})
		if d, ok := decode.CallDurationOf(data); !ok || d != 77 {
			t.Fatalf("duration %d %v", d, ok)
		}
		n := 0
		ok := decode.AddrmanEntries(data, func(e *decode.AddrmanEntry) {
			n++
			table := want.GetNew()
			if e.Tried {
				table = want.GetTried()
			}
			w := table[e.Bucket].GetEntries()[e.Position]
			if string(e.Address) != w.GetAddress() || e.Port != w.GetPort() || string(e.Network) != w.GetNetwork() ||
				e.Services != w.GetServices() || e.Time != w.GetTime() || string(e.Source) != w.GetSource() ||
				e.AS != w.GetMappedAs() || e.SourceAS != w.GetSourceMappedAs() {
				t.Fatalf("entry %+v, want %v", e, w)
			}
		})
		total := 0
		for _, table := range []map[uint32]*eventpb.AddrmanBucket{want.GetNew(), want.GetTried()} {
			for _, bucket := range table {
				total += len(bucket.GetEntries())
			}
		}
		if !ok || n != total {
			t.Fatalf("%d entries (%v), want %d", n, ok, total)
		}
	}
	if decode.AddrmanEntries([]byte{0x12, 0xff}, func(*decode.AddrmanEntry) {}) {
		t.Error("damaged bytes were accepted")
	}
}

// walk goes through everything that can be read of an event.
func walk(data []byte) {
	var d decode.Event
	if d.Decode(event.SourceEBPF, data) && d.Kind == event.KindMessage {
		body := d.Message.Body
		for it := decode.ItemsOf(body); it.Next(); {
		}
		for it := decode.HeadersOf(body); it.Next(); {
		}
		for it := decode.AddressesOf(body); it.Next(); {
		}
		decode.NonceOf(body)
		decode.FeeFilterOf(body)
		decode.VersionOf(body)
		decode.RejectOf(body)
		decode.HighBandwidthOf(body)
		decode.TransactionOf(body)
		decode.BlockHashOf(body)
		decode.BlockHeaderOf(body)
	}
	d.Decode(event.SourceRPC, data)
	decode.AddrmanEntries(data, func(*decode.AddrmanEntry) {})
	decode.CallDurationOf(data)
}

// Damaged events are read without a crash.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		data := encode(t, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: randomEBPF(r)}})
		walk(data[:r.IntN(len(data)+1)])
		for range 4 {
			bad := bytes.Clone(data)
			bad[r.IntN(len(bad))] = byte(r.Uint32())
			walk(bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 50 {
		f.Add(encode(f, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: randomEBPF(r)}}))
	}
	f.Fuzz(func(_ *testing.T, data []byte) { walk(data) })
}

func TestAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	data := encode(t, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: randomEBPF(r)}})
	if n := testing.AllocsPerRun(100, func() { walk(data) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}
