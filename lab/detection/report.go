package detection

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Outcomes of an alert.
const (
	outcomeReceived = "received"
	// outcomeQuiet: Alertmanager keeps quiet what a stronger alert says.
	outcomeQuiet    = "fired, kept quiet by a stronger one"
	outcomeNot      = "**not fired**"
	outcomeUnit     = "by unit test only"
	outcomeUnasked  = "not provoked in this run"
	outcomeNoResult = "**no result**"
)

// unitTestsOnly are alerts that no node can give rise to.
func unitTestsOnly() []string { return []string{"PeerObserverThresholdsMissing"} }

// Report is the page docs/detection.md.
func Report(rules []Rule, results []Result) string {
	var b strings.Builder
	s := sum(results)
	b.WriteString("# Detection\n\n")
	if s.provocations == 0 {
		fmt.Fprintf(&b, "**Recall and precision unknown: the last run had honest traffic only, and %d false pages and tickets in it.**\n\n", s.falseAlarms)
	} else {
		fmt.Fprintf(&b, "**Recall %s: %d of %d provocations had their alert received. Precision %s: %d notifications were meant, %d false.**\n\n",
			share(s.received, s.provocations), s.received, s.provocations, share(s.received, s.received+s.falseAlarms), s.received, s.falseAlarms)
	}
	b.WriteString("<!-- Made by `make detection`, which overwrites it. -->\n\n")
	b.WriteString("`make detection` provokes every alert on a real node (`peer-observer lab list` says how), with the agent, Prometheus and\n")
	b.WriteString("Alertmanager, and waits at the receiver. Before that come the benign twins of all provocations, which only resemble them, and\n")
	b.WriteString("nine profiles of [honest traffic](#honest-traffic). ")
	fmt.Fprintf(&b, "This run: %s, %d cores; the spans of time in the rules divided by %g.\n\n", s.node, s.cores, s.scale)

	b.WriteString("## Alerts\n\n")
	b.WriteString("The time is that from the beginning of the provocation until the notification, as it passed in the lab, and the same in the rules'\n")
	b.WriteString("time. The longer time is a bound, beyond the true one where the provocation, the node or the agent takes its own time, which doesn't\n")
	b.WriteString("go faster in the lab. As it is: received with the rules, the agent's intervals and scrapes every 15 s as they are, where that was run\n")
	b.WriteString("(`make detection UNSCALED=all`), beside the time that the scenario allows it. Alerts without an allowed time were received beside\n")
	b.WriteString("another one.\n\n")
	b.WriteString("| id | alert | severity | result | in the lab | rules' time, at most | as it is | allowed |\n|--|--|--|--|--:|--:|--:|--:|\n")
	for _, r := range rules {
		o := s.outcome(r)
		lab, scaled, within := "", "", ""
		if o.alarm != nil {
			lab, scaled = seconds(o.alarm.Seconds), minutes(o.alarm.Seconds*s.scale)
		}
		if o.within > 0 {
			within = minutes(o.within)
		}
		asItIs := ""
		if a := s.unscaled[r.Alert]; a != nil {
			asItIs = minutes(a.Seconds)
		}
		fmt.Fprintf(&b, "| [%s](../alerts/runbooks/%s.md) | `%s` | %s | %s | %s | %s | %s | %s |\n",
			r.ID, r.ID, r.Alert, r.Severity, o.result, lab, scaled, asItIs, within)
	}

	b.WriteString("\n## Honest traffic\n\n")
	b.WriteString("False are pages and tickets that nothing gave reason for; what the catalogue of attacks allows stands beside them.\n\n")
	b.WriteString("| what | rules' time | false | allowed, and received |\n|--|--:|--|--|\n")
	for _, r := range results {
		if r.Silent == nil {
			continue
		}
		what := r.Silent.What
		if r.Silent.Count > 1 {
			what = fmt.Sprintf("%s (%d)", what, r.Silent.Count)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", what, minutes(r.Silent.Seconds*s.scale), names(r.Silent.False), names(r.Silent.Allowed))
	}
	if s.falseOfProvoked != "" {
		b.WriteString("\nWhile alerts were provoked these came that nothing gave reason for:\n\n" + s.falseOfProvoked)
	}
	b.WriteString(honestTraffic)
	return b.String()
}

// honestTraffic says what the figures of the profiles are and are not.
const honestTraffic = `
` + "`peer-observer lab run BG1`" + ` and so on run the profiles. With the time scale go: connections that come and leave, blocks, restarts, and how
long all that takes. Not scaled are transactions, addresses, pings and fee filters, because the node's own limits for them aren't (it
announces 14 transactions a second to an inbound peer); thresholds that count them over a span of the rules are divided by the time
scale instead. A rush of 5,000 transactions (BG5) takes five minutes for the same reason, and has fewer transactions in a shorter run;
the day of BG6 is as long as the run. In BG5 fees and the peers' fee filters rise; the node's own lowest fee rises in a full
mempool only, which H01 tells of. BG7 may have the ticket of A14, because one node alone can't see that the operator left others
too; BG8 may have those of F05 and E09.
`

type summary struct {
	cores                               int
	node                                string
	scale                               float64
	received, provocations, falseAlarms int
	evaluated, fired                    map[string]bool
	own, beside                         map[string]outcome
	unscaled                            map[string]*Alarm
	falseOfProvoked                     string
}

type outcome struct {
	result string
	alarm  *Alarm
	// within is the time allowed, in seconds of the rules' time; 0 for none.
	within float64
}

func sum(results []Result) *summary {
	s := &summary{
		evaluated: map[string]bool{}, fired: map[string]bool{}, own: map[string]outcome{}, beside: map[string]outcome{}, unscaled: map[string]*Alarm{},
		scale: 1, node: "no node",
	}
	var lines strings.Builder
	for _, r := range results {
		switch {
		case r.Rig != nil:
			s.cores, s.node, s.scale = r.Rig.Cores, r.Rig.Node, r.Rig.TimeScale
			for _, alert := range r.Rig.Rules {
				s.evaluated[alert] = true
			}
			for _, alert := range r.Rig.Fired {
				s.fired[alert] = true
			}
		case r.Provoked != nil:
			p := r.Provoked
			s.provocations++
			s.falseAlarms += len(p.False)
			if len(p.False) > 0 {
				fmt.Fprintf(&lines, "- %s: %s\n", p.Scenario, names(p.False))
			}
			if p.Received != nil {
				s.received++
				s.own[p.Alert] = outcome{alarm: p.Received, within: p.Within}
			}
			for _, other := range p.Others {
				if before, found := s.beside[other.Alert]; !found || other.Seconds < before.alarm.Seconds {
					s.beside[other.Alert] = outcome{alarm: &other}
				}
			}
		case r.Unscaled != nil:
			s.unscaled[r.Unscaled.Alert] = r.Unscaled.Received
		case r.Silent != nil:
			s.falseAlarms += len(r.Silent.False)
		}
	}
	s.falseOfProvoked = lines.String()
	return s
}

func (s *summary) outcome(r Rule) outcome {
	for _, known := range []map[string]outcome{s.own, s.beside} {
		if o, found := known[r.Alert]; found {
			o.result = outcomeReceived
			return o
		}
	}
	switch {
	case s.fired[r.Alert] && s.provocations > 0:
		return outcome{result: outcomeQuiet}
	case slices.Contains(unitTestsOnly(), r.Alert):
		return outcome{result: outcomeUnit}
	case s.evaluated[r.Alert] && s.provocations == 0:
		return outcome{result: outcomeUnasked}
	case s.evaluated[r.Alert]:
		return outcome{result: outcomeNot}
	default:
		return outcome{result: outcomeNoResult}
	}
}

// Missing lists the alerts of which the results know nothing.
func Missing(rules []Rule, results []Result) []string {
	s := sum(results)
	var missing []string
	for _, r := range rules {
		if s.outcome(r).result == outcomeNoResult {
			missing = append(missing, r.Alert)
		}
	}
	return missing
}

func share(part, whole int) string {
	if whole == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.4g %%", 100*float64(part)/float64(whole))
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }

func minutes(s float64) string {
	d := time.Duration(s * float64(time.Second)).Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d.Round(time.Minute)/time.Minute)
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}

// names lists alerts, each once.
func names(alarms []Alarm) string {
	var list []string
	for _, a := range alarms {
		if text := fmt.Sprintf("`%s` (%s)", a.Alert, a.Severity); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
