package logger

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/peerobserver/peerobserver/proto/event"
)

// maxRows bounds the rows of the table: peers choose message types.
const maxRows = 500

// row is what is counted apart.
type row struct {
	source    event.Source
	kind      event.Kind
	message   string
	direction string
}

// total is what is counted: events, and their encoded size in bytes.
type total struct{ events, bytes uint64 }

// counts are the counts of all events so far.
type counts struct {
	rows map[row]*total
	sum  total
}

func newCounts() *counts { return &counts{rows: map[row]*total{}} }

func (c *counts) add(e *event.Event) {
	r := row{source: e.Source, kind: e.Kind}
	var kind []byte
	if r.kind == event.KindMessage {
		m, _ := peekMessage(e.Data)
		kind = m.kind[:min(len(m.kind), 2*maxMessageType)]
		r.direction = "outbound"
		if m.inbound {
			r.direction = "inbound"
		}
		r.message = string(kind)
	}
	t := c.rows[r]
	if t == nil {
		if len(c.rows) >= maxRows {
			r.message = "(other)"
			t = c.rows[r]
		}
		if t == nil {
			t = new(total)
			c.rows[r] = t
		}
	}
	t.events++
	t.bytes += uint64(len(e.Data))
	c.sum.events++
	c.sum.bytes += uint64(len(e.Data))
}

// maxMessageType is the longest P2P message type in bytes.
const maxMessageType = 12

// print writes the table, the most frequent first. Errors show at the next flush.
func (c *counts) print(out io.Writer) {
	rows := make([]row, 0, len(c.rows))
	for r := range c.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(
			-cmp.Compare(c.rows[a].events, c.rows[b].events),
			cmp.Compare(a.kind, b.kind),
			cmp.Compare(a.message, b.message),
			cmp.Compare(a.direction, b.direction),
			cmp.Compare(a.source, b.source),
		)
	})
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COUNT\tBYTES\tSOURCE\tEVENT\tMESSAGE\tDIRECTION")
	for _, r := range rows {
		t := c.rows[r]
		message := "-"
		if r.message != "" {
			message = string(appendText(nil, r.message))
		}
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%s\t%s\n", t.events, t.bytes, r.source, r.kind, message, cmp.Or(r.direction, "-"))
	}
	fmt.Fprintf(table, "%d\t%d\tall\n", c.sum.events, c.sum.bytes)
	_ = table.Flush()
}
