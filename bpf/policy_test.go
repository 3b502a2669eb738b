package bpf

import (
	"strings"
	"testing"
)

func TestPolicyRefuses(t *testing.T) {
	many := make([]Rule, maxRules+1)
	for i := range many {
		many[i] = Rule{MessageType: strings.Repeat("x", 1+i%20), Direction: Direction(i % 2)}
	}
	for name, p := range map[string]Policy{
		"negative limit":      {Inbound: -1},
		"negative rule limit": {Rules: []Rule{{MessageType: "tx", Limit: -1}}},
		"no type":             {Rules: []Rule{{}}},
		"long type":           {Rules: []Rule{{MessageType: strings.Repeat("x", 23)}}},
		"twice":               {Rules: []Rule{{MessageType: "tx", Limit: 1}, {MessageType: "tx", Drop: true}}},
		"too many":            {Rules: many},
	} {
		if _, _, err := p.settings(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s, rules, err := Policy{Inbound: 1 << 30, Rules: []Rule{
		{MessageType: "tx", Limit: 5}, {Direction: Outbound, MessageType: "tx", Drop: true}}}.settings()
	if err != nil {
		t.Fatal(err)
	}
	if s.Limit != [2]uint32{MaxPayload, 0} || s.HaveRules != 1 || len(rules) != 2 {
		t.Errorf("%+v, %v", s, rules)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, size := range []int{1, 4096, 65535, 96 << 10, 2 << 30, -1} {
		if p, err := Load(Config{RingSize: size}); err == nil {
			t.Errorf("ring of %d bytes accepted", size)
			p.Close()
		}
	}
}
