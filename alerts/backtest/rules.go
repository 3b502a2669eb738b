package backtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/alerts"
)

// lookback is for how long the last value of a series holds in an expression, as in a
// server with its default.
const lookback = 5 * time.Minute

// queryTimeout is the longest time that a rule may take over many scrapes, on a slow machine and
// with weeks to look back to; whoever waits can interrupt it before.
const queryTimeout = time.Hour

// rule is an alert or a recording rule.
type rule struct {
	Alert  string            `yaml:"alert"`
	Record string            `yaml:"record"`
	Expr   string            `yaml:"expr"`
	For    string            `yaml:"for"`
	Keep   string            `yaml:"keep_firing_for"`
	Labels map[string]string `yaml:"labels"`

	// hold is how long the condition holds before the alert fires, keep how long the alert
	// goes on when it doesn't hold any more.
	hold, keep time.Duration
	// reads is how far back each metric is looked back to, in milliseconds.
	reads map[string]int64
	// constant is the value of a rule such as vector(5), which most thresholds are.
	constant *float64
	// active are the alerts whose condition holds, by the text of their labels.
	active map[string]*active
}

// active is an alert that is pending or firing.
type active struct {
	since time.Time
	// firing is the place in the list of what fired, -1 while it is pending.
	firing int
	seen   time.Time
	// ceased is the first time at which the condition of one that fires didn't hold any
	// more, zero while it holds.
	ceased time.Time
}

// ruleSet is the rules in the order in which they are evaluated: what is recorded before
// what reads it.
type ruleSet struct {
	rules  []*rule
	engine *promql.Engine
	// keep is what a store has to keep: for how long each metric is looked back to, in
	// milliseconds.
	keep map[string]int64
}

// loadRules reads the rules of this project: all, or when ids has any, the alerts with one
// of these ids and what they read.
func loadRules(options alerts.Options, ids []string) (*ruleSet, error) {
	texts, err := alerts.Texts(options)
	if err != nil {
		return nil, err
	}
	// wanted are the rules that stay, in the order of the files; recorders those that record,
	// by name.
	var wanted []*rule
	recorders, known := map[string]*rule{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		var file struct {
			Groups []struct {
				Rules []*rule `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal([]byte(texts[name]), &file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, group := range file.Groups {
			for _, r := range group.Rules {
				if err := r.parse(); err != nil {
					return nil, fmt.Errorf("%s: %s%s: %w", name, r.Alert, r.Record, err)
				}
				known[r.Labels["id"]] = true
				if r.Record != "" && recorders[r.Record] != nil {
					return nil, fmt.Errorf("%s: %s is recorded twice", name, r.Record)
				}
				if r.Record != "" {
					recorders[r.Record] = r
				}
				if len(ids) == 0 || slices.Contains(ids, r.Labels["id"]) {
					wanted = append(wanted, r)
				}
			}
		}
	}
	for _, id := range ids {
		if id == "" || !known[id] {
			return nil, fmt.Errorf("there is no rule with the id %q", id)
		}
	}
	set := &ruleSet{keep: map[string]int64{}}
	set.engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: queryTimeout, LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true,
	})
	added := map[*rule]bool{}
	var add func(r *rule)
	add = func(r *rule) {
		if added[r] {
			return
		}
		added[r] = true
		for _, name := range slices.Sorted(maps.Keys(r.reads)) {
			if recorder := recorders[name]; recorder != nil {
				add(recorder)
			}
			set.keep[name] = max(set.keep[name], r.reads[name])
		}
		set.rules = append(set.rules, r)
	}
	for _, r := range wanted {
		add(r)
	}
	return set, nil
}

// parse reads the texts of a rule.
func (r *rule) parse() error {
	expression, err := parser.ParseExpr(r.Expr)
	if err != nil {
		return err
	}
	for _, span := range []struct {
		text string
		to   *time.Duration
	}{{r.For, &r.hold}, {r.Keep, &r.keep}} {
		if span.text == "" {
			continue
		}
		d, err := model.ParseDuration(span.text)
		if err != nil {
			return err
		}
		*span.to = time.Duration(d)
	}
	r.constant = constant(expression)
	r.active = map[string]*active{}
	r.look(expression)
	return nil
}

// read is whether a rule reads a metric, which may be a histogram.
func (s *ruleSet) read(metric string) bool {
	return slices.ContainsFunc([]string{"", "_bucket", "_count", "_sum"}, func(suffix string) bool { return s.keep[metric+suffix] > 0 })
}

// constant is the value of vector(5).
func constant(expression parser.Expr) *float64 {
	call, ok := expression.(*parser.Call)
	if !ok || call.Func.Name != "vector" {
		return nil
	}
	number, ok := call.Args[0].(*parser.NumberLiteral)
	if !ok {
		return nil
	}
	return &number.Val
}

// look notes how far back an expression looks.
func (r *rule) look(expression parser.Expr) {
	r.reads = map[string]int64{}
	parser.Inspect(expression, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		back := lookback + v.OriginalOffset
		for _, above := range path {
			switch x := above.(type) {
			case *parser.MatrixSelector:
				back += x.Range
			case *parser.SubqueryExpr:
				back += x.Range + x.OriginalOffset
			}
		}
		r.reads[v.Name] = max(r.reads[v.Name], back.Milliseconds())
		return nil
	})
}

// evaluate evaluates the rules at times that are one interval apart, and tells what it came
// to. It goes rule by rule and not time by time: the engine is many times as fast so, and
// as what is recorded comes before what reads it, the results are the same.
func (s *ruleSet) evaluate(ctx context.Context, st *store, at span, result *Result) error {
	for _, r := range s.rules {
		matrix, err := s.query(ctx, st, r, at)
		if err != nil {
			return fmt.Errorf("%s%s: %w", r.Alert, r.Record, err)
		}
		if r.Record != "" {
			r.record(st, matrix, at)
		} else {
			r.alert(matrix, at, result)
		}
	}
	return nil
}

// span is some times that are one interval apart.
type span struct {
	first    time.Time
	interval time.Duration
	n        int
}

func (a span) time(i int) time.Time { return a.first.Add(time.Duration(i) * a.interval) }

func (s *ruleSet) query(ctx context.Context, st *store, r *rule, at span) (promql.Matrix, error) {
	if r.constant != nil {
		one := promql.Series{}
		for i := range at.n {
			one.Floats = append(one.Floats, promql.FPoint{T: at.time(i).UnixMilli(), F: *r.constant})
		}
		return promql.Matrix{one}, nil
	}
	q, err := s.engine.NewRangeQuery(ctx, st, nil, r.Expr, at.first, at.time(at.n-1), at.interval)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	answer, err := q.Exec(ctx).Matrix()
	if err != nil {
		return nil, err
	}
	// The engine uses its memory again.
	matrix := make(promql.Matrix, 0, len(answer))
	for _, one := range answer {
		matrix = append(matrix, promql.Series{Metric: one.Metric, Floats: slices.Clone(one.Floats)})
	}
	return matrix, nil
}

// record stores what a rule records, with a marker where a series isn't there any more.
func (r *rule) record(st *store, matrix promql.Matrix, at span) {
	keep, wanted := st.keep[r.Record]
	if !wanted {
		return
	}
	there := make(map[*series]bool, len(matrix))
	for _, x := range matrix {
		b := labels.NewBuilder(x.Metric).Set(model.MetricNameLabel, r.Record)
		for name, v := range r.Labels {
			b.Set(name, v)
		}
		l := b.Labels()
		key := []byte(l.String())
		one := st.find(r.Record, key)
		if one == nil {
			one = st.create(r.Record, key, l)
		}
		there[one] = true
		for i, next := 0, 0; i < at.n; i++ {
			t := at.time(i).UnixMilli()
			switch {
			case next < len(x.Floats) && x.Floats[next].T == t:
				one.append(sample{t, x.Floats[next].F}, t-keep)
				next++
			case len(one.samples) > 0:
				one.gone(t, keep)
			}
		}
	}
	for key, one := range st.series[r.Record] {
		if !there[one] && !one.gone(at.first.UnixMilli(), keep) {
			delete(st.series[r.Record], key)
		}
	}
}

// alert notes when the condition of an alert holds.
func (r *rule) alert(matrix promql.Matrix, at span, result *Result) {
	all := make([]labels.Labels, len(matrix))
	for i, x := range matrix {
		b := labels.NewBuilder(x.Metric).Del(model.MetricNameLabel)
		for name, v := range r.Labels {
			b.Set(name, v)
		}
		all[i] = b.Set(labels.AlertName, r.Alert).Labels()
	}
	for i := range at.n {
		now := at.time(i)
		for k, x := range matrix {
			if len(x.Floats) > 0 && x.Floats[0].T == now.UnixMilli() {
				r.holds(all[k], x.Floats[0].F, now, result)
				matrix[k].Floats = x.Floats[1:]
			}
		}
		r.rest(now, result)
	}
}

// holds notes that the condition of an alert holds at a time.
func (r *rule) holds(l labels.Labels, value float64, at time.Time, result *Result) {
	key := l.String()
	a := r.active[key]
	if a == nil {
		a = &active{since: at, firing: -1}
		r.active[key] = a
	}
	a.seen, a.ceased = at, time.Time{}
	if a.firing < 0 && at.Sub(a.since) >= r.hold {
		a.firing = result.fires(l, a.since, at, value)
	}
	if a.firing >= 0 {
		result.Alerts[a.firing].Largest = max(result.Alerts[a.firing].Largest, value)
	}
}

// rest ends the alerts whose condition doesn't hold at a time any more, those that fire when
// that has been so for as long as they are kept.
func (r *rule) rest(at time.Time, result *Result) {
	for key, a := range r.active {
		if a.seen.Equal(at) {
			continue
		}
		if a.ceased.IsZero() {
			a.ceased = at
		}
		if a.firing >= 0 && at.Sub(a.ceased) < r.keep {
			continue
		}
		if a.firing >= 0 {
			result.ends(a.firing, at)
		}
		delete(r.active, key)
	}
}

// interrupt ends everything at a time, before one of which nothing is known.
func (s *ruleSet) interrupt(at time.Time, result *Result) {
	for _, r := range s.rules {
		for _, a := range r.active {
			if a.firing >= 0 {
				result.ends(a.firing, at)
			}
		}
		clear(r.active)
	}
}
