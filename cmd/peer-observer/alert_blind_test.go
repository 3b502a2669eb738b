package main

import (
	"fmt"
	"testing"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// On a real node the agent says which rules can't see: without debug=net, without a
// tracepoint, without a method; and that they see again when the node logs more.
func TestBlindRulesOfRealNode(t *testing.T) {
	node := regtest.WithTracepoints(t, regtest.Config{})
	o := observe(t, node, nil, "--extractor.ebpf.without=net:misbehaving_connection", "--extractor.rpc.interval.getorphantxs=-1s",
		"--extractor.p2p.ping-interval=100ms")
	o.ready()
	is := func(series string, want float64) func() error {
		return func() error {
			value, err := o.sample("peerobserver_alert_rule_blind" + series)
			if err == nil && value != want {
				err = fmt.Errorf("%s is %v, want %v", series, value, want)
			}
			return err
		}
	}
	eventually(t, "rule C06 to be blind", is(`{id="C06",reason="tracepoint:net:misbehaving_connection"}`, 1))
	eventually(t, "rule B06 to have lost a way", is(`{id="B06",reason="rpc:getorphantxs"}`, 0))
	eventually(t, "rule B11 to have lost a way", is(`{id="B11",reason="debug:net"}`, 0))
	for _, series := range []string{`{id="G02",reason="rpc:getchaintips"}`, `{id="B01",reason="source:p2p"}`, `{id="C05",reason="source:log"}`} {
		if is(series, 0)() == nil || is(series, 1)() == nil {
			t.Errorf("alert_rule_blind%s is there, and nothing is missing", series)
		}
	}
	if err := node.Call(t.Context(), "logging", []any{[]string{"net"}, []string{}}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "rule B11 to see again", func() error {
		if value, err := o.sample(`peerobserver_alert_rule_blind{id="B11",reason="debug:net"}`); err == nil {
			return fmt.Errorf("still there: %v", value)
		}
		return nil
	})
}
