package archive

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
)

// Gap is how many events of one source are missing, by their numbers.
type Gap struct {
	Node   string `json:"node"`
	BootID string `json:"boot_id"`
	Source string `json:"source"`
	// Events were there, Missing were not although later ones were, Repeated came with
	// a number that had been before.
	Events   uint64 `json:"events"`
	Missing  uint64 `json:"missing"`
	Repeated uint64 `json:"repeated"`
	// Gaps is the number of places at which events are missing.
	Gaps uint64 `json:"gaps"`
	// FirstSequence and LastSequence are the numbers of the first and last event.
	FirstSequence uint64 `json:"first_sequence"`
	LastSequence  uint64 `json:"last_sequence"`
}

// Verification is the result of Verify.
type Verification struct {
	Files []*VerifiedFile `json:"files"`
	// Sources are the numbered sources of all files together.
	Sources []*Gap `json:"sources"`
	// Selected says that not all events were chosen, so that gaps are to be expected.
	Selected bool `json:"selected"`
	// Unnumbered is the number of events without a number, such as those of the existing
	// tools.
	Unnumbered uint64 `json:"unnumbered"`
	// Untracked is the number of events of more sources than can be followed.
	Untracked uint64 `json:"untracked"`
}

// VerifiedFile is what was found in one file.
type VerifiedFile struct {
	*Info
	// Malformed is the number of messages that are no events.
	Malformed uint64 `json:"malformed"`
	// Error is why the file could not be read.
	Error string `json:"error,omitempty"`
}

// Sound tells whether a file is undamaged. It may still lack events that never came into
// it.
func (f *VerifiedFile) Sound() bool {
	return f.Error == "" && len(f.Damage) == 0 && f.Malformed == 0
}

// Sound tells whether all files are undamaged.
func (v *Verification) Sound() bool {
	return !slices.ContainsFunc(v.Files, func(f *VerifiedFile) bool { return !f.Sound() })
}

// Missing is the number of events that are missing by their numbers.
func (v *Verification) Missing() uint64 {
	var n uint64
	for _, g := range v.Sources {
		n += g.Missing
	}
	return n
}

// maxTracked bounds the numbered sources that are followed.
const maxTracked = 4096

type numbered struct {
	node   string
	boot   uint64
	source event.Source
}

// Verify reads files to the end, one after the other in the order of OpenSet as far as
// they belong together, and checks every checksum and number.
func Verify(ctx context.Context, paths []string) (*Verification, error) {
	v := new(Verification)
	sources := map[numbered]*Gap{}
	see := func(e *event.Event) {
		if e.Sequence == 0 {
			v.Unnumbered++
			return
		}
		key := numbered{e.NodeName, e.BootID, e.Source}
		g := sources[key]
		if g == nil {
			if len(sources) >= maxTracked {
				v.Untracked++
				return
			}
			g = &Gap{Node: e.NodeName, BootID: hex64(e.BootID), Source: e.Source.String(), FirstSequence: e.Sequence, LastSequence: e.Sequence - 1}
			sources[key] = g
		}
		g.see(e.Sequence)
	}
	for _, path := range inOrder(paths) {
		f := verifyFile(ctx, path, see)
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		v.Files = append(v.Files, f)
		v.Selected = v.Selected || f.Info != nil && f.Selection != nil
	}
	v.Sources = slices.SortedFunc(maps.Values(sources), func(a, b *Gap) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.BootID, b.BootID), cmp.Compare(a.Source, b.Source))
	})
	return v, nil
}

func (g *Gap) see(sequence uint64) {
	g.Events++
	if sequence <= g.LastSequence && g.Events > 1 {
		g.Repeated++
		return
	}
	if missing := sequence - g.LastSequence - 1; missing > 0 {
		g.Missing += missing
		g.Gaps++
	}
	g.LastSequence = sequence
}

func verifyFile(ctx context.Context, path string, see func(*event.Event)) *VerifiedFile {
	r, err := Open(path, Options{})
	if err != nil {
		return &VerifiedFile{Info: &Info{Path: path}, Error: err.Error()}
	}
	defer r.Close()
	f := &VerifiedFile{Info: newInfo(r)}
	f.Malformed, err = scan(ctx, r, f.Info, see)
	if err != nil {
		f.Error = err.Error()
	}
	b, ok := r.messages.(*blocks)
	if !ok || b.index == nil || err != nil {
		return f
	}
	// What the index says must be what was found.
	said := Info{Kinds: map[string]uint64{}}
	said.fromIndex(b.index)
	if len(f.Damage) == 0 && (said.Events != f.Events+f.Malformed || said.Blocks != f.Blocks || !maps.Equal(said.Kinds, f.Kinds)) {
		f.damage(&Damage{Path: path, Offset: r.size, Reason: "the index doesn't tell what is in the file"})
	}
	return f
}

// inOrder puts files into the order in which they were written, as far as they can be
// opened; the others stay where they were.
func inOrder(paths []string) []string {
	type dated struct {
		path    string
		created uint64
		number  uint64
	}
	var list []dated
	for _, path := range paths {
		d := dated{path: path}
		if r, err := Open(path, Options{}); err == nil {
			d.created, d.number = r.Header().GetCreatedNs(), r.Header().GetNumber()
			if d.created == 0 {
				d.created = r.Header().GetCreated() * uint64(time.Second)
			}
			if r.Close() != nil {
				continue
			}
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b dated) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.number, b.number))
	})
	sorted := make([]string, len(list))
	for i, d := range list {
		sorted[i] = d.path
	}
	return sorted
}
