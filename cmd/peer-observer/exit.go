package main

// Exit codes of the program; docs/exit-codes.md explains them to operators.
const (
	exitOK = 0
	// exitFailure: something failed while running, or a check found a fault.
	exitFailure = 1
	// exitUsage: a flag, a file it names or the configuration is wrong.
	exitUsage = 2
	// exitNode: the node can't be chosen (there are several) or is unusable
	// (unknown chain).
	exitNode = 3
	// exitListen: an address to listen on can't be had.
	exitListen = 4
	// exitCredentials: the node or NATS refused the credentials, or they can't be
	// read.
	exitCredentials = 5
)

// exitError carries the exit code of the program with the error that it prints.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// withCode wraps err, unless it is nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}
