package bpf

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// anyType stands for all message types in the text of a limit.
const anyType = "*"

// ParsePolicy makes a policy from the texts that an operator gives:
//
//	limits: [inbound:|outbound:]TYPE=BYTES, where TYPE may be * for all others
//	drops:  [inbound:|outbound:]TYPE
//
// Without a direction a text is for both.
func ParsePolicy(limits, drops []string) (Policy, error) {
	p := KeepAll()
	for _, text := range limits {
		selector, number, found := strings.Cut(text, "=")
		n, err := strconv.ParseUint(number, 10, 31)
		if !found || err != nil {
			return p, fmt.Errorf("payload limit %q is not [DIRECTION:]TYPE=BYTES, such as inbound:block=1000", text)
		}
		directions, messageType, err := parseSelector(selector)
		if err != nil {
			return p, fmt.Errorf("payload limit %q: %w", text, err)
		}
		for _, d := range directions {
			switch {
			case messageType != anyType:
				p.Rules = append(p.Rules, Rule{Direction: d, MessageType: messageType, Limit: int(n)})
			case d == Inbound:
				p.Inbound = int(n)
			default:
				p.Outbound = int(n)
			}
		}
	}
	for _, text := range drops {
		directions, messageType, err := parseSelector(text)
		if err != nil {
			return p, fmt.Errorf("message to drop %q: %w", text, err)
		}
		if messageType == anyType {
			return p, fmt.Errorf("message to drop %q: to see no messages at all, switch the group %s off", text, GroupMessages)
		}
		for _, d := range directions {
			p.Rules = append(p.Rules, Rule{Direction: d, MessageType: messageType, Drop: true})
		}
	}
	_, _, err := p.settings()
	return p, err
}

// parseSelector splits [DIRECTION:]TYPE.
func parseSelector(text string) ([]Direction, string, error) {
	directions := []Direction{Inbound, Outbound}
	if name, rest, found := strings.Cut(text, ":"); found {
		switch name {
		case Inbound.String():
			directions = directions[:1]
		case Outbound.String():
			directions = directions[1:]
		default:
			return nil, "", fmt.Errorf("%q is no direction: inbound or outbound", name)
		}
		text = rest
	}
	if text == "" {
		return nil, "", errors.New("it names no message type")
	}
	return directions, text, nil
}
