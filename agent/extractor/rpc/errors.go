package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Reasons for which an answer is lost (stage read), beside event.ReasonMalformed and
// event.ReasonTooLarge. An answer too large is lost in part or as a whole.
const (
	// reasonTimeout: the node didn't answer in time.
	reasonTimeout event.Reason = "timeout"
	// reasonRefused: nothing answers at the RPC address.
	reasonRefused event.Reason = "refused"
	// reasonUnauthorized: no credentials, or the node refused them.
	reasonUnauthorized event.Reason = "unauthorized"
	// reasonError: the node answered with an error.
	reasonError event.Reason = "error"
)

// reasonMissing is the class of methods that the node can't answer, ever. It is no
// loss.
const reasonMissing event.Reason = "missing"

// errMalformed is in the chain of every error about an answer's form.
var errMalformed = errors.New("unexpected form of an RPC answer")

// codeInternalError is what estimatesmartfee answers with where fee estimation is off
// (RPC_INTERNAL_ERROR, -blocksonly).
const codeInternalError = -32603

// classify says why a call failed.
func classify(err error) event.Reason {
	var (
		syntaxErr *json.SyntaxError
		typeErr   *json.UnmarshalTypeError
		httpErr   *node.HTTPError
		rpcErr    *node.RPCError
	)
	switch {
	case errors.Is(err, node.ErrMethodNotFound):
		return reasonMissing
	case errors.As(err, &rpcErr):
		if rpcErr.Code == codeInternalError && strings.Contains(rpcErr.Message, "Fee estimation disabled") {
			return reasonMissing
		}
		return reasonError
	case errors.Is(err, context.DeadlineExceeded):
		return reasonTimeout
	case errors.Is(err, node.ErrUnauthorized), errors.Is(err, node.ErrCredentials):
		return reasonUnauthorized
	case errors.Is(err, node.ErrUnreachable):
		return reasonRefused
	case errors.Is(err, node.ErrResponseTooLarge):
		return event.ReasonTooLarge
	case errors.Is(err, errMalformed), errors.As(err, &syntaxErr), errors.As(err, &typeErr):
		return event.ReasonMalformed
	case errors.As(err, &httpErr):
		if httpErr.Status == http.StatusForbidden {
			return reasonUnauthorized
		}
		return reasonError
	default:
		return reasonError
	}
}

// concernsAll reports whether every other method fails by this error too. The answer to
// a method that -rpcwhitelist forbids (403) is that method's alone.
func concernsAll(err error) bool {
	return errors.Is(err, node.ErrUnauthorized) || errors.Is(err, node.ErrCredentials) || errors.Is(err, node.ErrUnreachable)
}

// losses are the source's counters of lost answers.
type losses struct {
	byReason            map[event.Reason]*event.Counter
	malformed, tooLarge *event.Counter
}

func newLosses(ledger *event.Ledger) *losses {
	l := &losses{byReason: map[event.Reason]*event.Counter{}}
	for _, reason := range []event.Reason{
		reasonTimeout, reasonRefused, reasonUnauthorized, reasonError, event.ReasonMalformed, event.ReasonTooLarge,
	} {
		l.byReason[reason] = ledger.Loss(event.SourceRPC, event.StageRead, reason)
	}
	l.malformed, l.tooLarge = l.byReason[event.ReasonMalformed], l.byReason[event.ReasonTooLarge]
	return l
}

func (l *losses) count(reason event.Reason) {
	if counter := l.byReason[reason]; counter != nil {
		counter.Add(1)
	}
}
