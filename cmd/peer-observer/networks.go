package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// networkFlags are the flags of the files that say which autonomous systems and entities
// addresses belong to.
type networkFlags struct {
	asmap  string
	lists  []string
	reload time.Duration
}

func (f *networkFlags) register(clause *kingpin.CmdClause) {
	clause.Flag("metrics.asmap-file", "Asmap file, as for the node's -asmap: groups addresses by autonomous system as the node does with it.").
		PlaceHolder("FILE").StringVar(&f.asmap)
	clause.Flag("metrics.prefix-list", fmt.Sprintf("File with an address or prefix a line, whose members are counted under this name; repeatable, at most %d beside the built-in list %s, which one of the same name replaces.",
		netgroup.MaxLists-1, netgroup.BuiltinList)).PlaceHolder("NAME=FILE").StringsVar(&f.lists)
	clause.Flag("metrics.reload-interval", "How often these files are looked at for a change.").Default(netgroup.DefaultReload.String()).DurationVar(&f.reload)
}

// load reads the files.
func (f *networkFlags) load(env *environment) (*netgroup.Data, error) {
	config := netgroup.Config{ASMap: f.asmap, Lists: map[string]string{}, Reload: f.reload}
	if f.reload <= 0 {
		return nil, withCode(exitUsage, errors.New("--metrics.reload-interval must be positive"))
	}
	for _, l := range f.lists {
		name, path, ok := strings.Cut(l, "=")
		if !ok || path == "" {
			return nil, withCode(exitUsage, fmt.Errorf("--metrics.prefix-list=%s: give NAME=FILE", l))
		}
		if config.Lists[name] != "" {
			return nil, withCode(exitUsage, fmt.Errorf("--metrics.prefix-list: the name %s is given twice", name))
		}
		config.Lists[name] = path
	}
	data, err := netgroup.Load(config, env.logger.With("part", "networks"))
	if err != nil {
		return nil, withCode(exitUsage, fmt.Errorf("--metrics.asmap-file or --metrics.prefix-list: %w", err))
	}
	return data, nil
}
