package bpf

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf"
)

// Direction of a message, seen from the node.
type Direction uint8

const (
	Inbound Direction = iota
	Outbound
)

func (d Direction) String() string {
	if d == Outbound {
		return "outbound"
	}
	return "inbound"
}

// MaxPayload is the most that is kept of a payload, in bytes. It is above Bitcoin
// Core's limit of 4,000,000 bytes a message (MAX_PROTOCOL_MESSAGE_LENGTH).
const MaxPayload = 4 << 20

// Rule says what to do with messages of one type in one direction.
type Rule struct {
	Direction   Direction
	MessageType string // of at most 22 bytes
	// Limit is how many bytes of the payload are kept; the true size is known
	// all the same, and Truncated is set where something was cut.
	Limit int
	// Drop counts the message (Counts.Filtered) and makes no record.
	Drop bool
}

// Policy says how much is kept of message payloads. It is applied in the kernel,
// before anything is copied.
type Policy struct {
	// Inbound and Outbound are the bytes kept of a payload where no rule fits.
	Inbound, Outbound int
	// Rules are at most 256, one for each message type and direction.
	Rules []Rule
}

// KeepAll keeps every byte of every message.
func KeepAll() Policy { return Policy{Inbound: MaxPayload, Outbound: MaxPayload} }

const maxRules = 256

func (p Policy) settings() (objectSettings, map[objectRuleKey]objectRule, error) {
	var s objectSettings
	limit := func(n int) (uint32, error) {
		if n < 0 || n > math.MaxUint32 {
			return 0, fmt.Errorf("payload limit %d is not a number of bytes", n)
		}
		return uint32(min(n, MaxPayload)), nil
	}
	var err error
	if s.Limit[Inbound], err = limit(p.Inbound); err != nil {
		return s, nil, err
	}
	if s.Limit[Outbound], err = limit(p.Outbound); err != nil {
		return s, nil, err
	}
	if len(p.Rules) > maxRules {
		return s, nil, fmt.Errorf("%d message rules, at most %d", len(p.Rules), maxRules)
	}
	rules := make(map[objectRuleKey]objectRule, len(p.Rules))
	for _, r := range p.Rules {
		k := objectRuleKey{Direction: uint32(r.Direction)}
		if r.MessageType == "" || len(r.MessageType) >= len(k.Type)-1 {
			return s, nil, fmt.Errorf("message type %q of a rule has not 1 to %d bytes", r.MessageType, len(k.Type)-2)
		}
		copy(k.Type[:], r.MessageType)
		if _, ok := rules[k]; ok {
			return s, nil, fmt.Errorf("two rules for %v %s", r.Direction, r.MessageType)
		}
		v := objectRule{}
		if v.Limit, err = limit(r.Limit); err != nil {
			return s, nil, err
		}
		if r.Drop {
			v.Drop = 1
		}
		rules[k] = v
	}
	if len(rules) > 0 {
		s.HaveRules = 1
	}
	return s, rules, nil
}

// SetPolicy changes what is kept of messages from now on. While it runs, hits may
// meet some rules of the old and some of the new policy.
func (p *Program) SetPolicy(policy Policy) error {
	s, rules, err := policy.settings()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var k objectRuleKey
	var v objectRule
	var stale []objectRuleKey
	for it := p.objects.Rules.Iterate(); it.Next(&k, &v); {
		if _, ok := rules[k]; !ok {
			stale = append(stale, k)
		}
	}
	for _, k := range stale {
		if err := p.objects.Rules.Delete(k); err != nil {
			return fmt.Errorf("delete message rule: %w", err)
		}
	}
	for k, v := range rules {
		if err := p.objects.Rules.Put(k, v); err != nil {
			return fmt.Errorf("set message rule: %w", err)
		}
	}
	p.settings.HaveRules, p.settings.Limit = s.HaveRules, s.Limit
	return p.applySettings()
}

// maxProcesses is the size of the process filter.
const maxProcesses = 1024

// SetProcesses limits records to the given process ids (of this process's PID
// namespace) of the attached files. Without any, every process is recorded. Hits
// of others still cost them the trap, and are counted as Foreign.
func (p *Program) SetProcesses(pids ...int) error {
	if len(pids) > maxProcesses {
		return fmt.Errorf("%d processes, at most %d", len(pids), maxProcesses)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := make(map[uint32]bool, len(pids))
	for _, pid := range pids {
		if pid <= 0 || pid > math.MaxInt32 {
			return fmt.Errorf("%d is no process id", pid)
		}
		wanted[uint32(pid)] = true
	}
	if len(wanted) == 0 {
		// First let all in, then forget: no wanted hit is missed.
		p.settings.FilterProcesses = 0
		if err := p.applySettings(); err != nil {
			return err
		}
	}
	for pid := range wanted {
		if err := p.objects.Processes.Update(pid, uint32(1), ebpf.UpdateAny); err != nil {
			return fmt.Errorf("add process %d to the filter: %w", pid, err)
		}
	}
	var pid, v uint32
	var stale []uint32
	for it := p.objects.Processes.Iterate(); it.Next(&pid, &v); {
		if !wanted[pid] {
			stale = append(stale, pid)
		}
	}
	for _, pid := range stale {
		if err := p.objects.Processes.Delete(pid); err != nil {
			return fmt.Errorf("remove process %d from the filter: %w", pid, err)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	p.settings.FilterProcesses = 1
	return p.applySettings()
}

// applySettings hands p.settings to the running program.
func (p *Program) applySettings() error {
	if err := p.objects.Config.Set(p.settings); err != nil {
		return fmt.Errorf("change settings of the eBPF program: %w", err)
	}
	return nil
}
