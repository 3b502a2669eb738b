package bpf_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
)

func TestParsePolicy(t *testing.T) {
	all := bpf.KeepAll()
	for _, c := range []struct {
		limits, drops []string
		want          bpf.Policy
	}{
		{nil, nil, all},
		{[]string{"block=1000"}, nil, bpf.Policy{Inbound: all.Inbound, Outbound: all.Outbound, Rules: []bpf.Rule{
			{Direction: bpf.Inbound, MessageType: "block", Limit: 1000}, {Direction: bpf.Outbound, MessageType: "block", Limit: 1000}}}},
		{[]string{"outbound:*=0", "inbound:tx=4000000"}, []string{"outbound:ping", "pong"}, bpf.Policy{Inbound: all.Inbound, Rules: []bpf.Rule{
			{Direction: bpf.Inbound, MessageType: "tx", Limit: 4_000_000},
			{Direction: bpf.Outbound, MessageType: "ping", Drop: true},
			{Direction: bpf.Inbound, MessageType: "pong", Drop: true}, {Direction: bpf.Outbound, MessageType: "pong", Drop: true}}}},
		{[]string{"*=80"}, nil, bpf.Policy{Inbound: 80, Outbound: 80}},
	} {
		got, err := bpf.ParsePolicy(c.limits, c.drops)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q, %q: %+v, %v; want %+v", c.limits, c.drops, got, err, c.want)
		}
	}
	for _, c := range []struct {
		limits, drops []string
		want          string
	}{
		{[]string{"block"}, nil, "is not [DIRECTION:]TYPE=BYTES"},
		{[]string{"block="}, nil, "is not [DIRECTION:]TYPE=BYTES"},
		{[]string{"block=-1"}, nil, "is not [DIRECTION:]TYPE=BYTES"},
		{[]string{"block=4294967296"}, nil, "is not [DIRECTION:]TYPE=BYTES"},
		{[]string{"=5"}, nil, "names no message type"},
		{[]string{"in:block=5"}, nil, `"in" is no direction`},
		{[]string{"block=5", "inbound:block=6"}, nil, "two rules for inbound block"},
		{[]string{"block=5"}, []string{"block"}, "two rules for inbound block"},
		{[]string{strings.Repeat("x", 23) + "=5"}, nil, "has not 1 to 22 bytes"},
		{nil, []string{"*"}, "switch the group messages off"},
		{nil, []string{"inbound:"}, "names no message type"},
	} {
		if _, err := bpf.ParsePolicy(c.limits, c.drops); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v, want an error with %q", c.limits, c.drops, err, c.want)
		}
	}
}
