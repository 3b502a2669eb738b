package metrics

import (
	"slices"
	"strings"
)

//go:generate go test -run TestReference|TestCompatibility -update .

// Definitions lists every metric of a node for the reference page, by name. The metrics
// of the Go runtime and of the HTTP server are those of client_golang and not in it.
func Definitions() []Definition {
	config := Config{}
	if err := config.validate(); err != nil {
		return nil
	}
	n := newNode(config, func() int64 { return 0 })
	list := append(slices.Clone(n.definitions), n.status.definitions...)
	list = append(list, Definition{
		Name: prefix + "build_info", Type: "gauge", Events: "none", Unit: "1",
		Help:   "A metric with a constant '1' value labeled by version, revision, branch, goversion from which peerobserver was built, and the goos and goarch for the build.",
		Labels: []LabelDefinition{{Name: "version"}, {Name: "revision"}, {Name: "branch"}, {Name: "goversion"}, {Name: "goos"}, {Name: "goarch"}, {Name: "tags"}},
	})
	slices.SortFunc(list, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	return list
}
