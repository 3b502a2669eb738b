// Command first-announcer prints, for each block that joins a node's chain, which peer
// told the node of it first. It is the example of docs/writing-a-tool.md.
package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func main() {
	url := flag.String("url", nats.DefaultURL, "NATS server")
	prefix := flag.String("prefix", "", "prefix of the subjects, the agent's --nats.subject-prefix")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *prefix); err != nil {
		fmt.Fprintln(os.Stderr, "first-announcer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, prefix string) error {
	// The ledger counts what gets lost, the stream hands events to sinks.
	ledger := event.NewLedger()
	stream := event.NewStream(&announcers{out: os.Stdout, first: map[block]announcement{}})
	subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{
		Connection: nats.Config{URL: url, Name: "first-announcer"}, SubjectPrefix: prefix,
	}, stream, ledger, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	err = subscriber.Run(ctx) // until ctx ends, through any outage of the server
	for _, loss := range ledger.Status().GetLosses() {
		if loss.GetCount() > 0 {
			fmt.Fprintln(os.Stderr, "lost:", loss.GetCount(), "events,", loss.GetStage(), loss.GetReason())
		}
	}
	return err
}

// maxBlocks bounds what is remembered: peers can announce what they like.
const maxBlocks = 1000

// block is a block of one node's.
type block struct{ node, hash string }

type announcement struct {
	peer    uint64
	message string
	at      time.Time
}

// announcers is the sink.
type announcers struct {
	out   io.Writer
	first map[block]announcement
}

// HandleEvent is called with one event at a time. It must not block.
func (a *announcers) HandleEvent(e *event.Event) {
	if e.Kind != event.KindMessage && e.Kind != event.KindValidationBlockConnected {
		return
	}
	decoded := new(eventpb.Event)
	if proto.Unmarshal(e.Data, decoded) != nil {
		return
	}
	ebpf := decoded.GetEbpfExtractor()
	if message := ebpf.GetMessage(); message.GetMeta().GetInbound() {
		for _, hash := range announced(message) {
			key := block{e.NodeName, string(hash)}
			if _, known := a.first[key]; known {
				continue
			}
			if len(a.first) == maxBlocks {
				clear(a.first)
			}
			a.first[key] = announcement{message.GetMeta().GetPeerId(), message.GetMeta().GetCommand(), e.Time()}
		}
	} else if connected := ebpf.GetValidation().GetBlockConnected(); connected != nil {
		a.print(e, connected)
	}
}

func (a *announcers) print(e *event.Event, connected *eventpb.BlockConnected) {
	// Explorers and RPC show hashes in reverse.
	shown := slices.Clone(connected.GetHash())
	slices.Reverse(shown)
	from := "nobody" // mined here, or announced before we came
	if first, known := a.first[block{e.NodeName, string(connected.GetHash())}]; known {
		from = fmt.Sprintf("peer %d by %s, %d µs before", first.peer, first.message, e.Time().Sub(first.at).Microseconds())
	}
	fmt.Fprintf(a.out, "%s %d %s from %s\n", e.NodeName, connected.GetHeight(), hex.EncodeToString(shown), from)
}

// announced gives the blocks that a message tells of.
func announced(message *eventpb.MessageEvent) (hashes [][]byte) {
	for _, item := range message.GetInv().GetItems() {
		hashes = append(hashes, item.GetBlock())
	}
	for _, header := range message.GetHeaders().GetHeaders() {
		hashes = append(hashes, header.GetHash())
	}
	hashes = append(hashes, message.GetCompactblock().GetHeader().GetHash(), message.GetBlock().GetHeader().GetHash())
	return slices.DeleteFunc(hashes, func(hash []byte) bool { return len(hash) == 0 })
}
