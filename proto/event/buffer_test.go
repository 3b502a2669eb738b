package event_test

import (
	"bytes"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
)

func TestBufferEnvelopes(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 600, 70_000} {
		body := bytes.Repeat([]byte("x"), size)
		address := bytes.Repeat([]byte("a"), 300)
		b := event.NewBuffer(64)
		b.SetGrown(append(b.Grow(), body...))
		want := body
		for num := protowire.Number(1); num < 3000; num *= 3 {
			b.Enclose(num)
			want = event.AppendBytesField(nil, num, want)
			b.PrependVarintField(num, math.MaxUint64)
			want = append(event.AppendVarintField(nil, num, math.MaxUint64), want...)
			// Together more than the head room: the content has to move.
			b.PrependBytesField(num, address)
			want = append(event.AppendBytesField(nil, num, address), want...)
			// Appending goes on after any of that.
			b.SetGrown(event.AppendSintField(b.Grow(), num, -5))
			want = event.AppendSintField(want, num, -5)
		}
		if !bytes.Equal(b.Bytes(), want) || b.Len() != len(want) {
			t.Errorf("body of %d bytes: wrong encoding", size)
		}
		b.Reset()
		if b.Len() != 0 {
			t.Errorf("%d bytes after Reset", b.Len())
		}
	}
}

func TestBufferGivesLargeMemoryBack(t *testing.T) {
	b := event.NewBuffer(64)
	b.SetGrown(append(b.Grow(), make([]byte, 8<<20)...))
	b.Reset()
	if c := cap(b.Grow()); c > 4<<20 {
		t.Errorf("%d bytes kept", c)
	}
	b.SetGrown(append(b.Grow(), make([]byte, 1<<20)...))
	b.Reset()
	if c := cap(b.Grow()); c < 1<<20 {
		t.Errorf("only %d bytes kept", c)
	}
}
