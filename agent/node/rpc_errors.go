package node

import (
	"errors"
	"fmt"
)

// Errors of Client.Call, to be tested for with errors.Is.
var (
	// ErrCredentials: the cookie or password file can't be read or is no good.
	ErrCredentials = errors.New("no RPC credentials")
	// ErrUnauthorized: the node refused the credentials (HTTP 401).
	ErrUnauthorized = errors.New("RPC credentials refused")
	// ErrUnreachable: nothing answers at the RPC address, or it hung up.
	ErrUnreachable = errors.New("RPC server unreachable")
	// ErrResponseTooLarge: the response exceeds the client's limit.
	ErrResponseTooLarge = errors.New("RPC response too large")
	// ErrMethodNotFound: this version of the node lacks the method
	// (RPC_METHOD_NOT_FOUND, -32601).
	ErrMethodNotFound = errors.New("RPC method not found")
	// ErrWarmingUp: the node is starting and answers no calls yet
	// (RPC_IN_WARMUP, -28).
	ErrWarmingUp = errors.New("node is starting up")
)

// Codes of rpc/protocol.h that have an error of their own here.
const (
	codeInWarmup       = -28
	codeMethodNotFound = -32601
)

// RPCError is an error that the node answered with.
type RPCError struct {
	// Code is one of Bitcoin Core's RPCErrorCode (rpc/protocol.h).
	Code int `json:"code"`
	// Message is the node's own text.
	Message string `json:"message"`
}

func (e *RPCError) Error() string {
	return fmt.Sprintf("node answers %s (code %d)", excerpt([]byte(e.Message)), e.Code)
}

// Is makes errors.Is work with ErrMethodNotFound and ErrWarmingUp.
func (e *RPCError) Is(target error) bool {
	switch target {
	case ErrMethodNotFound:
		return e.Code == codeMethodNotFound
	case ErrWarmingUp:
		return e.Code == codeInWarmup
	}
	return false
}

// HTTPError is an HTTP status other than 200 and 401 without an RPC error.
type HTTPError struct {
	Status  int
	Address string
	// Hint is what to do about it, or the beginning of the server's text.
	Hint string
}

func (e *HTTPError) Error() string {
	return fmt.Sprintf("HTTP status %d from %s: %s", e.Status, e.Address, e.Hint)
}

type unreachableError struct {
	address string
	err     error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no RPC server answers at %s (is the node running with server=1? flag --rpc.address): %v", e.address, e.err)
}

func (e *unreachableError) Is(target error) bool { return target == ErrUnreachable }
func (e *unreachableError) Unwrap() error        { return e.err }

// credentialsError is ErrCredentials or ErrUnauthorized with its reason.
type credentialsError struct {
	kind error
	text string
	err  error
}

func (e *credentialsError) Error() string {
	if e.err == nil {
		return e.text
	}
	return e.text + ": " + e.err.Error()
}

func (e *credentialsError) Is(target error) bool { return target == e.kind }
func (e *credentialsError) Unwrap() error        { return e.err }
