package netgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// Limits of prefix lists.
const (
	// MaxLists is the number of prefix lists, the built-in one included: each is a
	// label value of several metrics.
	MaxLists = 8
	// MaxPrefixes is the number of prefixes of one list.
	MaxPrefixes   = 100_000
	maxListLine   = 256
	maxListName   = 32
	DefaultReload = 30 * time.Second
)

// BuiltinList is the name of the list that is compiled in.
const BuiltinList = "linkinglion"

// builtinPrefixes are the networks of the entity called LinkingLion, which connects to
// many nodes at a time and listens. Source: 0xB10C, observation 06 of March 2023
// (b10c.me/observations/06-linkinglion). A list of the same name replaces them.
func builtinPrefixes() []string {
	return []string{"162.218.65.0/24", "209.222.252.0/24", "91.198.115.0/24", "2604:d500:4:1::/64"}
}

// Config says which files describe the internet.
type Config struct {
	// ASMap is the path of an asmap file as for the node's -asmap; empty for none.
	ASMap string
	// Lists are the paths of prefix lists by name: one address or prefix a line, #
	// begins a comment.
	Lists map[string]string
	// Reload is how often the files are looked at for a change; DefaultReload when
	// zero.
	Reload time.Duration
}

// Data is what the files say, reloaded when they change. It is an event.Runner; Current
// works without Run.
type Data struct {
	config  Config
	logger  *slog.Logger
	names   []string
	current atomic.Pointer[Snapshot]
	// stamps are those of the files that current was made from.
	stamps map[string]stamp
}

// stamp tells apart versions of a file.
type stamp struct {
	modified time.Time
	size     int64
}

// Snapshot is what the files said at one time. It doesn't change.
type Snapshot struct {
	asmap *ASMap
	lists []*bart.Lite
}

// Load reads all files.
func Load(config Config, logger *slog.Logger) (*Data, error) {
	if config.Reload == 0 {
		config.Reload = DefaultReload
	}
	if config.Reload < 0 {
		return nil, fmt.Errorf("the interval of reloading is %s: it must be positive", config.Reload)
	}
	names := []string{BuiltinList}
	for name := range config.Lists {
		if !validName(name) {
			return nil, fmt.Errorf("prefix list name %q: only a-z, 0-9 and _ are allowed, at most %d of them", name, maxListName)
		}
		if name != BuiltinList {
			names = append(names, name)
		}
	}
	if len(names) > MaxLists {
		return nil, fmt.Errorf("%d prefix lists with the built-in one: at most %d are allowed", len(names), MaxLists)
	}
	slices.Sort(names)
	d := &Data{config: config, logger: logger, names: names}
	if _, err := d.load(); err != nil {
		return nil, err
	}
	return d, nil
}

// Builtin is what is known without a file.
func Builtin() *Data {
	d := &Data{names: []string{BuiltinList}, stamps: map[string]stamp{}}
	d.current.Store(&Snapshot{lists: []*bart.Lite{builtin()}})
	return d
}

func builtin() *bart.Lite {
	list := new(bart.Lite)
	for _, p := range builtinPrefixes() {
		list.Insert(netip.MustParsePrefix(p))
	}
	return list
}

func validName(name string) bool {
	if name == "" || len(name) > maxListName {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	}) < 0
}

// Names are the names of the lists, in the order of the bits that Lists gives.
func (d *Data) Names() []string { return d.names }

// Current is what the files say now.
func (d *Data) Current() *Snapshot { return d.current.Load() }

// ASOf gives the autonomous system of an address, 0 when unknown.
func (s *Snapshot) ASOf(a *Address) uint32 { return s.asmap.ASOf(a) }

// Group gives the group of an address.
func (s *Snapshot) Group(a *Address) Group { return GroupOf(a, s.asmap) }

// HasASMap is whether an asmap is loaded.
func (s *Snapshot) HasASMap() bool { return s.asmap != nil }

// Lists gives the lists that an address is on, as bits in the order of Data.Names.
func (s *Snapshot) Lists(a *Address) uint8 {
	ip, ok := a.IP()
	if !ok {
		return 0
	}
	mask := uint8(0)
	for i, list := range s.lists {
		if list.Lookup(ip) {
			mask |= 1 << i
		}
	}
	return mask
}

// Run looks for changed files until ctx ends. A file that has become unreadable or
// malformed is reported and the last good content kept.
func (d *Data) Run(ctx context.Context) error {
	ticker := time.NewTicker(d.config.Reload)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if changed, err := d.load(); err != nil {
				d.logger.Error("the old content of asmap and prefix lists stays in use", "err", err)
			} else if changed {
				d.logger.Info("asmap and prefix lists reloaded")
			}
		}
	}
}

// paths lists every file.
func (d *Data) paths() []string {
	var paths []string
	if d.config.ASMap != "" {
		paths = append(paths, d.config.ASMap)
	}
	for _, name := range d.names {
		if path := d.config.Lists[name]; path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// load reads the files again if one of them has changed.
func (d *Data) load() (changed bool, err error) {
	stamps := map[string]stamp{}
	changed = d.current.Load() == nil
	for _, path := range d.paths() {
		info, err := os.Stat(path)
		if err != nil {
			return false, fmt.Errorf("asmap and prefix lists: %w", err)
		}
		s := stamp{info.ModTime(), info.Size()}
		stamps[path] = s
		changed = changed || d.stamps[path] != s
	}
	if !changed {
		return false, nil
	}
	next := &Snapshot{}
	if d.config.ASMap != "" {
		if next.asmap, err = LoadASMap(d.config.ASMap); err != nil {
			return false, err
		}
	}
	for _, name := range d.names {
		list := builtin()
		if path := d.config.Lists[name]; path != "" {
			if list, err = loadList(path); err != nil {
				return false, err
			}
		}
		next.lists = append(next.lists, list)
	}
	d.stamps = stamps
	d.current.Store(next)
	return true, nil
}

// loadList reads a prefix list.
func loadList(path string) (*bart.Lite, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("prefix list: %w", err)
	}
	defer f.Close()
	list, err := readList(f)
	if err != nil {
		return nil, fmt.Errorf("prefix list %s: %w", path, err)
	}
	return list, nil
}

func readList(r io.Reader) (*bart.Lite, error) {
	list := new(bart.Lite)
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, maxListLine), maxListLine)
	number, prefixes := 0, 0
	for scanner.Scan() {
		number++
		line, _, _ := strings.Cut(scanner.Text(), "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		prefix, err := parsePrefix(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if prefixes++; prefixes > MaxPrefixes {
			return nil, fmt.Errorf("line %d: more than %d prefixes", number, MaxPrefixes)
		}
		list.Insert(prefix)
	}
	if err := scanner.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("line %d is longer than %d bytes", number+1, maxListLine)
		}
		return nil, err
	}
	return list, nil
}

// parsePrefix reads a prefix or an address, which is a prefix of full length.
func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is no prefix such as 192.0.2.0/24 or 2001:db8::/32: %w", text, err)
		}
		return p.Masked(), nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no address or prefix: %w", text, err)
	}
	ip = ip.WithZone("").Unmap()
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}
