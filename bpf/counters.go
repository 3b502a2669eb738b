package bpf

import "fmt"

// Counts are the totals of one tracepoint since Load, over all CPUs.
type Counts struct {
	// Hits are all hits. Hits = Records + Filtered + LostRing + LostScratch
	// holds exactly whenever no hit is under way.
	Hits    uint64
	Records uint64 // written to the ring
	// Filtered were dropped by a rule.
	Filtered uint64
	// LostRing found no room in the ring.
	LostRing uint64
	// LostScratch found more than four hits under way on their CPU.
	LostScratch uint64

	// Of the records:
	Shed          uint64 // without their payload, for lack of room
	Truncated     uint64 // with their payload cut by a limit
	PayloadFault  uint64 // without their payload, which could not be read
	ArgumentFault uint64 // with an argument that could not be read
	StringCut     uint64 // with a string longer than its limit
	PagedIn       uint64 // whose payload had to be fetched by a page fault

	// Foreign are of processes that are not wanted. They are no Hits.
	Foreign uint64
	// Wakeups of the reader.
	Wakeups uint64
}

// Lost is the number of hits without a record that no rule asked for.
func (c Counts) Lost() uint64 { return c.LostRing + c.LostScratch }

// Counters are the totals of all tracepoints.
type Counters struct {
	Tracepoints [numIDs]Counts // by ID
	// UnknownSite are hits of a site that is no more: between detaching and the
	// last hit under way. They are no Hits.
	UnknownSite uint64
}

// Counters reads the totals. Counts of one tracepoint are not read at one
// instant, so the equation of Counts may be off by the hits under way.
func (p *Program) Counters() (Counters, error) {
	var all Counters
	var cpus []objectCounters
	sum := func(key uint32) (objectCounters, error) {
		var t objectCounters
		if err := p.objects.Counts.Lookup(key, &cpus); err != nil {
			return t, fmt.Errorf("read counters of the eBPF program: %w", err)
		}
		for i := range cpus {
			c := &cpus[i]
			t.Hits += c.Hits
			t.Records += c.Records
			t.Filtered += c.Filtered
			t.LostRing += c.LostRing
			t.LostScratch += c.LostScratch
			t.Shed += c.Shed
			t.Truncated += c.Truncated
			t.PayloadFault += c.PayloadFault
			t.ArgumentFault += c.ArgumentFault
			t.StringCut += c.StringCut
			t.PagedIn += c.PagedIn
			t.Foreign += c.Foreign
			t.UnknownSite += c.UnknownSite
			t.Wakeups += c.Wakeups
		}
		return t, nil
	}
	for id := range all.Tracepoints {
		t, err := sum(uint32(id))
		if err != nil {
			return Counters{}, err
		}
		all.Tracepoints[id] = Counts{
			Hits: t.Hits, Records: t.Records, Filtered: t.Filtered,
			LostRing: t.LostRing, LostScratch: t.LostScratch,
			Shed: t.Shed, Truncated: t.Truncated, PayloadFault: t.PayloadFault,
			ArgumentFault: t.ArgumentFault, StringCut: t.StringCut, PagedIn: t.PagedIn,
			Foreign: t.Foreign, Wakeups: t.Wakeups,
		}
	}
	t, err := sum(p.objects.Counts.MaxEntries() - 1)
	if err != nil {
		return Counters{}, err
	}
	all.UnknownSite = t.UnknownSite
	return all, nil
}
