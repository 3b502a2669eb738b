package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v2"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/peerobserver/peerobserver/exporters/connectivity"
	"github.com/peerobserver/peerobserver/exporters/evidence"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/otlp"
	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/event"
)

// flagTable lists every command, its arguments and its flags. Hidden ones count: a
// renamed flag lives on as one.
func flagTable(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	var walk func(command string, flags *kingpin.FlagGroupModel, arguments *kingpin.ArgGroupModel, commands *kingpin.CmdGroupModel)
	walk = func(command string, flags *kingpin.FlagGroupModel, arguments *kingpin.ArgGroupModel, commands *kingpin.CmdGroupModel) {
		for _, f := range flags.Flags {
			if strings.HasPrefix(f.Name, "help") || strings.HasPrefix(f.Name, "completion-") {
				continue
			}
			row := "takes a value"
			if f.IsBoolFlag() {
				row = "on or off"
			} else if c, ok := f.Value.(interface{ IsCumulative() bool }); ok && c.IsCumulative() {
				row = "repeatable"
			}
			if f.Required {
				row += ", required"
			}
			if f.Short != 0 {
				row += fmt.Sprintf(", -%c", f.Short)
			}
			rows[command+"\t--"+f.Name] = strings.TrimSuffix(row+", "+f.Envar, ", ")
		}
		for i, a := range arguments.Args {
			row := "optional"
			if a.Required {
				row = "required"
			}
			rows[fmt.Sprintf("%s\targument %d", command, i+1)] = row
		}
		for _, c := range commands.Commands {
			if c.Name == "help" {
				continue
			}
			rows[c.FullCommand] = "command"
			walk(c.FullCommand, c.FlagGroupModel, c.ArgGroupModel, c.CmdGroupModel)
		}
	}
	model := applicationModel(t)
	walk("all commands", model.FlagGroupModel, model.ArgGroupModel, model.CmdGroupModel)
	return rows
}

// keepsFlag: what was given before still means the same. A flag may cease to be required,
// get a short form and be given several times.
func keepsFlag(promised, today string) bool {
	for part := range strings.SplitSeq(promised, ", ") {
		kept := part == "required" || strings.Contains(", "+today+", ", ", "+part+", ")
		if !kept && (part != "takes a value" || !strings.HasPrefix(today, "repeatable")) {
			return false
		}
	}
	return strings.Contains(promised, "required") || !strings.Contains(today, "required")
}

// keepsCalls fails for what has become necessary: a call that was complete must stay so.
func keepsCalls(t *testing.T, promised map[string]string) {
	t.Helper()
	for key, row := range flagTable(t) {
		command, _, _ := strings.Cut(key, "\t")
		_, known := promised[key]
		if !known && promised[command] != "" && strings.Contains(row, "required") {
			t.Errorf("flags.tsv: %q is new and required. Promised: calls that were complete stay so (docs/stability.md)", key)
		}
	}
}

func exitCodeTable(*testing.T) map[string]string {
	return map[string]string{
		"ended as asked":               fmt.Sprint(exitOK),
		"failed while running":         fmt.Sprint(exitFailure),
		"wrong flag or configuration":  fmt.Sprint(exitUsage),
		"node unusable":                fmt.Sprint(exitNode),
		"address can't be listened on": fmt.Sprint(exitListen),
		"credentials refused":          fmt.Sprint(exitCredentials),
	}
}

// metricTable lists the metrics of nodes, and those that sinks export about themselves.
// The series of the Go runtime and of the web server are their libraries'.
func metricTable(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, d := range metrics.Definitions() {
		row := []string{d.Type}
		for _, l := range d.Labels {
			label := l.Name
			// What a label learns at run time is the operator's and not promised.
			if values := slices.Clone(l.Values); len(values) > 0 && !l.Learning {
				slices.Sort(values)
				label += "=" + strings.Join(values, "|")
			}
			row = append(row, label)
		}
		rows[d.Name] = strings.Join(row, " ")
	}
	own := &describer{t: t, rows: rows}
	output := filepath.Join(t.TempDir(), "checks")
	check, err := connectivity.New(connectivity.Config{Output: output, UserAgent: connectivity.DefaultUserAgent}, event.NewLedger(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := check.Register(own); err != nil {
		t.Fatal(err)
	}
	redactor, err := redact.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := evidence.New(evidence.Config{URL: evidence.DefaultURL, Instance: "i", Metrics: prometheus.NewRegistry(), Redactor: redactor}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Register(own); err != nil {
		t.Fatal(err)
	}
	// It has nothing to send before it is ended again.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_METRICS_EXPORTER", "none")
	pushed, err := otlp.New(t.Context(), otlp.Config{NodeName: "n", Gatherer: prometheus.NewRegistry(), Registerer: own}, event.NewLedger(), slog.New(slog.DiscardHandler))
	if err != nil || pushed == nil {
		t.Fatalf("no exporter for OTLP: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := pushed.Run(ended); err != nil {
		t.Error(err)
	}
	if own.seen < 10 {
		t.Errorf("the sinks register only %d metrics of their own", own.seen)
	}
	return rows
}

// describer is a registerer that only looks.
type describer struct {
	t    *testing.T
	rows map[string]string
	seen int
}

var description = regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

// Register notes name, type and labels.
func (d *describer) Register(c prometheus.Collector) error {
	kind := strings.ToLower(reflect.TypeOf(c).String())
	for _, known := range []string{"counter", "gauge", "histogram"} {
		if strings.Contains(kind, known) {
			kind = known
		}
	}
	descriptions := make(chan *prometheus.Desc, 16)
	go func() {
		defer close(descriptions)
		c.Describe(descriptions)
	}()
	for one := range descriptions {
		match := description.FindStringSubmatch(one.String())
		if match == nil {
			d.t.Errorf("not understood: %s", one)
			continue
		}
		row := []string{kind}
		// The functions of gauges and counters have one type, of no name.
		if strings.Contains(kind, "valuefunc") {
			row[0] = "gauge"
			if strings.HasSuffix(match[1], "_total") {
				row[0] = "counter"
			}
		}
		for label := range strings.SplitSeq(match[2]+","+match[3], ",") {
			if name, _, _ := strings.Cut(label, "="); name != "" {
				row = append(row, name)
			}
		}
		d.rows[match[1]] = strings.Join(row, " ")
		d.seen++
	}
	return nil
}

func (d *describer) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		_ = d.Register(c)
	}
}

func (d *describer) Unregister(prometheus.Collector) bool { return false }

// keepsLabels: the same type and the same labels, each with at least the same values. A
// label more would break whoever matches series one to one.
func keepsLabels(promised, today string) bool {
	was, is := strings.Fields(promised), strings.Fields(today)
	if len(was) != len(is) {
		return false
	}
	for i := range was {
		wasName, wasValues, wasFixed := strings.Cut(was[i], "=")
		isName, isValues, isFixed := strings.Cut(is[i], "=")
		if wasName != isName {
			return false
		}
		if !wasFixed || !isFixed {
			continue
		}
		values := strings.Split(isValues, "|")
		for value := range strings.SplitSeq(wasValues, "|") {
			if !slices.Contains(values, value) {
				return false
			}
		}
	}
	return true
}

func subjectTable(*testing.T) map[string]string {
	rows := map[string]string{}
	for _, k := range event.Kinds() {
		rows[k.String()] = k.Source().String() + " " + k.Subject()
	}
	return rows
}

// fieldTable lists the fields of every message and the values of every enum.
func fieldTable(*testing.T) map[string]string {
	rows := map[string]string{}
	enums := func(list protoreflect.EnumDescriptors) {
		for i := range list.Len() {
			values := list.Get(i).Values()
			for j := range values.Len() {
				rows[fmt.Sprintf("%s\t%d", list.Get(i).FullName(), values.Get(j).Number())] = string(values.Get(j).Name())
			}
		}
	}
	var messages func(list protoreflect.MessageDescriptors)
	messages = func(list protoreflect.MessageDescriptors) {
		for i := range list.Len() {
			m := list.Get(i)
			enums(m.Enums())
			messages(m.Messages())
			for j := range m.Fields().Len() {
				f := m.Fields().Get(j)
				row := []string{string(f.Name()), fieldType(f)}
				if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
					row = append(row, "in", string(o.Name()))
				}
				rows[fmt.Sprintf("%s\t%d", m.FullName(), f.Number())] = strings.Join(row, " ")
			}
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("peerobserver.v1", func(file protoreflect.FileDescriptor) bool {
		enums(file.Enums())
		messages(file.Messages())
		return true
	})
	return rows
}

// identityTable lists what others refer to of the alert rules and dashboards.
func identityTable(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	each := func(pattern string, look func(path string, content []byte) error) {
		paths, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(paths) < 5 {
			t.Fatalf("%s: %v (%v)", pattern, paths, err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err == nil {
				err = look(path, content)
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
	}
	each("alerts/*.rules.yml", func(_ string, content []byte) error {
		var file struct {
			Groups []struct {
				Rules []struct {
					Alert  string
					Labels map[string]string
				}
			}
		}
		err := yaml.Unmarshal(content, &file)
		for _, group := range file.Groups {
			for _, rule := range group.Rules {
				if rule.Alert != "" {
					rows["alert\t"+rule.Alert] = rule.Labels["id"]
				}
			}
		}
		return err
	})
	each("dashboards/*.json", func(path string, content []byte) error {
		var board struct{ UID string }
		err := json.Unmarshal(content, &board)
		rows["dashboard\t"+filepath.Base(path)] = board.UID
		return err
	})
	return rows
}

func fieldType(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch {
	case f.IsMap():
		return "map of " + fieldType(f.MapKey()) + " to " + fieldType(f.MapValue())
	case f.Message() != nil:
		name = string(f.Message().FullName())
	case f.Enum() != nil:
		name = string(f.Enum().FullName())
	}
	if f.IsList() {
		packed := ""
		if f.IsPacked() {
			packed = "packed "
		}
		return packed + "list of " + name
	}
	return name
}

// The comparisons are what the promises stand on.
func TestKeepsFlag(t *testing.T) {
	for _, c := range []struct {
		promised, today string
		kept            bool
	}{
		{"takes a value, required, -o, X", "takes a value, -o, X", true},
		{"takes a value, X", "takes a value, -o, X", true},
		{"takes a value, X", "repeatable, X", true},
		{"takes a value, X", "takes a value, required, X", false},
		{"takes a value, X", "on or off, X", false},
		{"takes a value, -o, X", "takes a value, X", false},
		{"on or off, X", "on or off, Y", false},
		{"optional", "required", false},
	} {
		if keepsFlag(c.promised, c.today) != c.kept {
			t.Errorf("%q → %q: kept is not %v", c.promised, c.today, c.kept)
		}
	}
}

func TestKeepsLabels(t *testing.T) {
	for _, c := range []struct {
		promised, today string
		kept            bool
	}{
		{"counter a b=x|y", "counter a b=x|y", true},
		{"counter a b=x|y", "counter a b=w|x|y", true},
		{"counter a b=x|y", "counter a b=x", false},
		{"counter a", "gauge a", false},
		{"counter a", "counter a b=x", false},
		{"counter a b=x", "counter a", false},
		{"counter a", "counter b", false},
	} {
		if keepsLabels(c.promised, c.today) != c.kept {
			t.Errorf("%q → %q: kept is not %v", c.promised, c.today, c.kept)
		}
	}
}
