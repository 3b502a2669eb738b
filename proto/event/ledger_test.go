package event_test

import (
	"errors"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestLedgerStatus(t *testing.T) {
	l := event.NewLedger()
	log := l.Source(event.SourceLog)
	rpc := l.Source(event.SourceRPC)
	if l.Source(event.SourceRPC) != rpc {
		t.Error("a source has two accounts")
	}
	rpc.Started()
	rpc.Up("13 methods")
	log.Started()
	log.Failed(errors.New("no debug.log"))
	log.Started()
	l.Loss(event.SourceRPC, event.StageQueue, "nats_full").Add(3)
	l.Loss(event.SourceRPC, event.StageEmit, event.ReasonEncode)
	l.Loss(event.SourceEBPF, event.StageKernel, "ring_full").Set(9)
	l.Loss(event.SourceEBPF, event.StageKernel, "ring_full").Set(11)
	l.Queue(func() event.QueueState {
		return event.QueueState{Sink: "nats", Events: 1, Bytes: 2, CapacityBytes: 3}
	})
	l.Node(func() *eventpb.NodeStatus { return &eventpb.NodeStatus{Pid: ptr(uint32(5))} })
	l.Tracepoints(func() []*eventpb.TracepointStatus {
		return []*eventpb.TracepointStatus{{Name: ptr("net:inbound_message")}}
	})
	source := func(name string, up bool, detail string, attempts, failures uint64) *eventpb.SourceStatus {
		return &eventpb.SourceStatus{
			Source: &name, Up: &up, Detail: &detail, Events: ptr(uint64(0)),
			Attempts: &attempts, Failures: &failures, LastEventTimeNs: ptr(int64(0)),
		}
	}
	loss := func(source, stage, reason string, count uint64) *eventpb.Loss {
		return &eventpb.Loss{Source: &source, Stage: &stage, Reason: &reason, Count: &count}
	}
	want := &eventpb.Status{
		Sources: []*eventpb.SourceStatus{
			source("rpc", true, "13 methods", 1, 0),
			source("log", false, "no debug.log", 2, 1),
		},
		Losses: []*eventpb.Loss{
			loss("ebpf", "kernel", "ring_full", 11),
			loss("rpc", "emit", "encode", 0),
			loss("rpc", "queue", "nats_full", 3),
		},
		Queues:      []*eventpb.QueueStatus{{Sink: ptr("nats"), Events: ptr(uint64(1)), Bytes: ptr(uint64(2)), CapacityBytes: ptr(uint64(3))}},
		Node:        &eventpb.NodeStatus{Pid: ptr(uint32(5))},
		Tracepoints: []*eventpb.TracepointStatus{{Name: ptr("net:inbound_message")}},
	}
	if got := l.Status(); !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestLedgerIsConcurrent(t *testing.T) {
	l := event.NewLedger()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				l.Loss(event.SourceRPC, event.StageQueue, "x_full").Add(1)
				l.Source(event.SourceRPC).Started()
				l.Source(event.SourceRPC).Up("up")
				l.Status()
			}
		})
	}
	wg.Wait()
	if n := l.Loss(event.SourceRPC, event.StageQueue, "x_full").Value(); n != 8000 {
		t.Errorf("%d counted", n)
	}
	if n := l.Status().GetSources()[0].GetAttempts(); n != 8000 {
		t.Errorf("%d attempts", n)
	}
}
