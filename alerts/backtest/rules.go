package backtest

import (
	"context"
	"errors"
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

// rule is an alert or a recording rule.
type rule struct {
	Alert  string            `yaml:"alert"`
	Record string            `yaml:"record"`
	Expr   string            `yaml:"expr"`
	For    string            `yaml:"for"`
	Labels map[string]string `yaml:"labels"`

	hold time.Duration
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
}

// ruleSet is the rules in the order in which they are evaluated: what is recorded first.
type ruleSet struct {
	rules  []*rule
	engine *promql.Engine
	// keep is what a store has to keep, recorded the names of what the rules record.
	keep     map[string]int64
	recorded []string
}

// loadRules reads the rules of this project.
func loadRules(options alerts.Options) (*ruleSet, error) {
	texts, err := alerts.Texts(options)
	if err != nil {
		return nil, err
	}
	set := &ruleSet{keep: map[string]int64{}}
	names := slices.Sorted(maps.Keys(texts))
	// The others read thresholds and gates.
	for _, first := range []string{"gates.rules.yml", "thresholds.rules.yml"} {
		i := slices.Index(names, first)
		if i < 0 {
			return nil, fmt.Errorf("there is no file %s", first)
		}
		names = append([]string{first}, slices.Delete(names, i, i+1)...)
	}
	for _, name := range names {
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
				if err := set.add(r); err != nil {
					return nil, fmt.Errorf("%s: %s%s: %w", name, r.Alert, r.Record, err)
				}
			}
		}
	}
	set.engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true,
	})
	return set, nil
}

func (s *ruleSet) add(r *rule) error {
	expression, err := parser.ParseExpr(r.Expr)
	if err != nil {
		return err
	}
	if r.For != "" {
		hold, err := model.ParseDuration(r.For)
		if err != nil {
			return err
		}
		r.hold = time.Duration(hold)
	}
	r.constant = constant(expression)
	r.active = map[string]*active{}
	if r.Record != "" && !slices.Contains(s.recorded, r.Record) {
		s.recorded = append(s.recorded, r.Record)
	}
	s.rules = append(s.rules, r)
	s.look(expression)
	return nil
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
func (s *ruleSet) look(expression parser.Expr) {
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
		s.keep[v.Name] = max(s.keep[v.Name], back.Milliseconds())
		return nil
	})
}

// evaluate evaluates the rules at a time and tells what it came to.
func (s *ruleSet) evaluate(ctx context.Context, st *store, at time.Time, round uint64, result *Result) error {
	t := at.UnixMilli()
	for _, r := range s.rules {
		vector, err := s.query(ctx, st, r, at)
		if err != nil {
			return fmt.Errorf("%s%s: %w", r.Alert, r.Record, err)
		}
		for _, x := range vector {
			b := labels.NewBuilder(x.Metric).Del(model.MetricNameLabel)
			for name, v := range r.Labels {
				b.Set(name, v)
			}
			if r.Record != "" {
				st.add(b.Set(model.MetricNameLabel, r.Record).Labels(), t, x.F, round)
				continue
			}
			r.holds(b.Set(labels.AlertName, r.Alert).Labels(), x.F, at, result)
		}
		r.rest(at, result)
	}
	st.end(s.recorded, t, round)
	return nil
}

func (s *ruleSet) query(ctx context.Context, st *store, r *rule, at time.Time) (promql.Vector, error) {
	if r.constant != nil {
		return promql.Vector{{T: at.UnixMilli(), F: *r.constant}}, nil
	}
	q, err := s.engine.NewInstantQuery(ctx, st, nil, r.Expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	answer := q.Exec(ctx)
	if answer.Err != nil {
		return nil, answer.Err
	}
	switch v := answer.Value.(type) {
	case promql.Vector:
		// The engine uses its memory again.
		return slices.Clone(v), nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	default:
		return nil, errors.New("it is neither a vector nor a scalar")
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
	a.seen = at
	if a.firing < 0 && at.Sub(a.since) >= r.hold {
		a.firing = result.fires(l, a.since, at, value)
	}
	if a.firing >= 0 {
		result.Alerts[a.firing].Largest = max(result.Alerts[a.firing].Largest, value)
	}
}

// rest ends the alerts whose condition doesn't hold at a time any more.
func (r *rule) rest(at time.Time, result *Result) {
	for key, a := range r.active {
		if a.seen.Equal(at) {
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
