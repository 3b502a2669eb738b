package rpc

import (
	"fmt"
	"strings"
	"sync"

	"github.com/peerobserver/peerobserver/proto/event"
)

const detailNoNode = "no node found yet"

// health derives the state of the source from that of its methods: it is up when all
// vital methods answer.
type health struct {
	account *event.SourceAccount

	mu sync.Mutex
	// down is why the source is down, empty when it is up.
	down string
	none bool
	// common is why every call fails, as it was logged; empty when calls get through.
	common event.Reason
}

func newHealth(account *event.SourceAccount) *health {
	return &health{account: account}
}

// fails reports whether a failed call is worth a line in the log. What keeps every
// method from working is said once, and not once a method.
func (h *health) fails(err error, first bool) bool {
	if !concernsAll(err) {
		return first
	}
	reason := classify(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.common == reason
	h.common = reason
	return !said
}

// answers reports whether an answer is worth a line in the log: one method's when it
// had failed by itself, or the first when none got through. all tells which.
func (h *health) answers(again bool) (worth, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all = h.common != ""
	h.common = ""
	return again || all, all
}

// waiting reports whether noNode has been said.
func (h *health) waiting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.none
}

func (h *health) noNode() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.none, h.down = true, detailNoNode
	h.account.Down(detailNoNode)
}

func (h *health) stopped() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = "stopped"
	h.account.Down(h.down)
}

// newNode forgets what the methods knew of an earlier node.
func (h *health) newNode(methods []*schedule) {
	for _, m := range methods {
		m.reset()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.none, h.down, h.common = false, "waiting for the first answers", ""
	h.account.Down(h.down)
}

// update says whether the source is up after a method's state changed.
func (h *health) update(methods []*schedule) {
	var missing []string
	answered, waiting := 0, 0
	var failing error
	for _, m := range methods {
		state := m.state()
		if state.Missing {
			missing = append(missing, m.name)
			continue
		}
		if !m.vital {
			continue
		}
		switch {
		case state.Err != nil:
			if failing == nil {
				failing = fmt.Errorf("%s: %w", m.name, state.Err)
			}
		case state.Answered == 0:
			waiting++
		default:
			answered++
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.none:
		// A call that was under way when the node went.
	case failing != nil:
		if h.down != failing.Error() {
			h.down = failing.Error()
			h.account.Failed(failing)
		}
	case waiting > 0:
		// Neither up nor a new reason to be down.
	default:
		h.down = ""
		detail := fmt.Sprintf("%d methods answer", answered)
		if len(missing) > 0 {
			detail += "; the node lacks " + strings.Join(missing, ", ")
		}
		h.account.Up(detail)
	}
}
