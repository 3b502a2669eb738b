package ebpf

import (
	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// counters are the totals since New, over all programs that were loaded. x.mu is held.
func (x *Extractor) counters() bpf.Counters {
	if x.program == nil {
		return x.base
	}
	now, err := x.program.Counters()
	if err != nil {
		x.logger.Warn("reading the counters of the eBPF program", "err", err)
		return x.base
	}
	for i := range now.Tracepoints {
		c, b := &now.Tracepoints[i], &x.base.Tracepoints[i]
		c.Hits += b.Hits
		c.Records += b.Records
		c.Filtered += b.Filtered
		c.LostRing += b.LostRing
		c.LostScratch += b.LostScratch
		c.Shed += b.Shed
		c.Truncated += b.Truncated
		c.PayloadFault += b.PayloadFault
		c.ArgumentFault += b.ArgumentFault
		c.StringCut += b.StringCut
		c.PagedIn += b.PagedIn
		c.Foreign += b.Foreign
		c.Wakeups += b.Wakeups
	}
	now.UnknownSite += x.base.UnknownSite
	return now
}

// Replacements is how often the program file was found replaced.
func (x *Extractor) Replacements() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.replacements
}

// Status describes every tracepoint that is wanted, in the order of the table. Records
// of processes that aren't observed are in none of its counts of hits and records;
// what was lost of them can't be told apart.
func (x *Extractor) Status() []*eventpb.TracepointStatus {
	x.mu.Lock()
	defer x.mu.Unlock()
	counters := x.counters()
	var list []*eventpb.TracepointStatus
	for _, p := range x.reports {
		if p.State == bpf.Off {
			continue
		}
		c := &counters.Tracepoints[p.Tracepoint.ID]
		// Whose a record is turns out when it is read, after it was counted: the difference
		// falls then. What is told doesn't, since a counter that falls has begun again.
		ignored := min(x.ignored[p.Tracepoint.ID].Load(), c.Records)
		records, told := c.Records-ignored, &x.told[p.Tracepoint.ID]
		*told = max(*told, records)
		c.Hits = c.Hits - min(ignored, c.Hits) + *told - records
		c.Records = *told
		name, attached, lost := p.Tracepoint.String(), p.State == bpf.Attached, c.Lost()
		status := &eventpb.TracepointStatus{
			Name:             &name,
			Attached:         &attached,
			Hits:             &c.Hits,
			Records:          &c.Records,
			Filtered:         &c.Filtered,
			Lost:             &lost,
			PayloadShed:      &c.Shed,
			PayloadTruncated: &c.Truncated,
			PayloadFaults:    &c.PayloadFault,
			ArgumentFaults:   &c.ArgumentFault,
			StringsCut:       &c.StringCut,
		}
		if !attached {
			detail := "not in the node's program"
			if p.Err != nil {
				detail = p.Err.Error()
			}
			status.Detail = &detail
		}
		list = append(list, status)
	}
	return list
}
