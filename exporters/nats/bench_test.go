package nats_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

// cpu is the CPU time of this process so far.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPublish compares the publisher with a bare connection, on the embedded server
// within the process and on one in a process of its own. cpu-ns/op is the CPU time of
// this process: with the embedded server, the server's is in it.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{430, 36_000} {
		for _, where := range []string{"in-process", "tcp"} {
			b.Run(fmt.Sprintf("bare/%s/%d", where, size), func(b *testing.B) {
				bare(b, where, size)
			})
			b.Run(fmt.Sprintf("publisher/%s/%d", where, size), func(b *testing.B) {
				publisher(b, where, size)
			})
		}
	}
}

// target starts the server and says how to reach it.
func target(b *testing.B, where string) nats.Config {
	b.Helper()
	if where == "in-process" {
		s, _ := newServer(b, nats.ServerConfig{AllowPublish: true})
		return nats.Config{InProcess: s}
	}
	x := newExternal(b, "max_payload: 15MB")
	x.start()
	return nats.Config{URL: x.url()}
}

func bare(b *testing.B, where string, size int) {
	cfg := target(b, where)
	url, options := cfg.URL, []natsgo.Option{}
	if cfg.InProcess != nil {
		url = cfg.InProcess.URL()
		options = append(options, natsgo.InProcessServer(cfg.InProcess.Raw()))
	}
	conn, err := natsgo.Connect(url, options...)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	data := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := cpu(b)
	b.ResetTimer()
	for range b.N {
		if err := conn.Publish(event.SubjectMessages, data); err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

func publisher(b *testing.B, where string, size int) {
	r := newRig(b, nats.PublisherConfig{Connection: target(b, where), Retention: -1})
	running := start(b, r.publisher)
	eventually(b, "connected", r.connected)
	e := &event.Event{
		Header:  event.Header{Source: event.SourceEBPF, NodeName: "node"},
		Kind:    event.KindMessage,
		Subject: event.SubjectMessages,
		Data:    make([]byte, size),
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := cpu(b)
	b.ResetTimer()
	for i := range b.N {
		// The benchmark is of what is sent, so the buffer must not overflow.
		for i%256 == 0 && r.ledger.Status().GetQueues()[0].GetBytes() > 8<<20 {
			time.Sleep(100 * time.Microsecond)
		}
		r.publisher.HandleEvent(e)
	}
	for r.queued() > 0 {
		time.Sleep(100 * time.Microsecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	running.stop(b)
	if lost := losses(r.ledger, event.SourceEBPF, event.StageQueue, event.StagePublish); lost > 0 {
		b.Errorf("%d lost", lost)
	}
}

// BenchmarkTrickle sends 200 events a second in groups of four, as a quiet node does.
// cpu-ns/op is for one group.
func BenchmarkTrickle(b *testing.B) {
	s, _ := newServer(b, nats.ServerConfig{})
	r := newRig(b, nats.PublisherConfig{Connection: nats.Config{InProcess: s}})
	start(b, r.publisher)
	eventually(b, "connected", r.connected)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	before := cpu(b)
	for range b.N {
		<-ticker.C
		for range 4 {
			r.emit()
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}
