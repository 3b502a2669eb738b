package backtest_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/alerts/backtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// plainArchive makes an archive that isn't compressed, so that the fuzzer reaches what is
// inside: a header and events, each with its length before it.
func plainArchive(f *testing.F, events ...*eventpb.Event) []byte {
	f.Helper()
	var data []byte
	header := &eventpb.ArchiveHeader{Created: proto.Uint64(uint64(start.Unix()))}
	for _, m := range append([]proto.Message{header}, messages(events)...) {
		encoded, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		data = protowire.AppendBytes(data, encoded)
	}
	return data
}

func messages(events []*eventpb.Event) (list []proto.Message) {
	for i, e := range events {
		e.Timestamp = proto.Uint64(uint64(start.Add(time.Duration(i) * time.Minute).UnixMilli()))
		e.NodeName = proto.String("alpha")
		list = append(list, e)
	}
	return list
}

// FuzzArchive takes any file as an archive: a backtest ends, the number of scrapes doesn't
// depend on what times the events claim, and every alert that is reported is whole.
func FuzzArchive(f *testing.F) {
	const interval = time.Minute
	status := func(up bool) *eventpb.Event {
		st := &eventpb.Status{}
		if up {
			st.Node = &eventpb.NodeStatus{Chain: proto.String("main"), StartTimeNs: proto.Int64(start.UnixNano())}
		}
		return &eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{ObserverEvent: &eventpb.Observer_Status{Status: st}}}}
	}
	ebpf := func(x *eventpb.EbpfExtractor) *eventpb.Event {
		return &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: x}}
	}
	rpc := func(x *eventpb.RpcExtractor) *eventpb.Event {
		return &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: x}}
	}
	f.Add(plainArchive(f, status(true), status(false), status(false), status(false), status(false), status(true)))
	f.Add(plainArchive(f,
		ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
			PeerId: proto.Uint64(1), Addr: proto.String("8.8.8.8:1"), Command: proto.String("ping"), Inbound: proto.Bool(true), Size: proto.Uint64(8),
		}}}}),
		ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: &eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{
			BlockConnected: &eventpb.BlockConnected{Hash: make([]byte, 32), Height: proto.Int32(1)},
		}}}}),
		rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 100_000}}),
		rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: &eventpb.MempoolInfo{Usage: proto.Int64(1 << 60), MaxMempool: proto.Int64(1)}}}),
		status(true), status(true), status(true),
	))
	f.Add([]byte("no archive"))
	path := filepath.Join(f.TempDir(), "archive.20260601-000000-000.bin")
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2<<10 {
			return
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := backtest.Run(t.Context(), backtest.Config{Paths: []string{path}, Interval: interval, IDs: []string{"A01", "B04", "H01", "I01"}}, slog.New(slog.DiscardHandler))
		if err != nil {
			if result != nil && result.Scrapes > 0 {
				t.Errorf("it ends in the middle: %v", err)
			}
			return
		}
		// Between two events there are at most the scrapes of five minutes; a longer time
		// is a gap.
		if limit := 6*result.Events + 1; result.Scrapes > limit || result.Gaps > result.Events {
			t.Errorf("%d scrapes and %d gaps of %d events", result.Scrapes, result.Gaps, result.Events)
		}
		for i := range result.Alerts {
			a := &result.Alerts[i]
			if a.Alert == "" || a.ID == "" || a.Severity == "" || a.Fired.Before(a.Began) || (a.Ended != nil && a.Ended.Before(a.Fired)) {
				t.Errorf("an alert is %+v", a)
			}
			for name, v := range a.Labels {
				if len(name) > 64 || len(v) > 256 {
					t.Errorf("a label is %q=%q", name, v)
				}
			}
		}
	})
}
