package main

import (
	"errors"
	"fmt"
)

// The exit statuses of virga. `virga run` and `virga shell` return the status
// of the program, so their own failures use the numbers that env(1), chroot(1)
// and docker(1) use.
const (
	exitOK         = 0
	exitFailed     = 1   // the operation failed
	exitUsage      = 2   // wrong usage: unknown command or option, bad argument
	exitRunFailed  = 125 // run: virga itself failed before the program started
	exitNotExec    = 126 // run: the program cannot be executed
	exitNotFound   = 127 // run: the program does not exist
	exitSignalBase = 128 // run: plus N, the program was ended by signal N
)

// usageError is a command line that means nothing: exit 2.
type usageError struct {
	msg  string
	hint string
}

func (e *usageError) Error() string { return e.msg }
func (e *usageError) Hint() string  { return e.hint }

func usagef(format string, a ...any) error { return &usageError{msg: fmt.Sprintf(format, a...)} }

// statusError carries an exit status out of a command. With a nil err nothing
// is printed: the program that virga ran has said what there is to say.
type statusError struct {
	code int
	err  error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// exitCode is the table from errors to exit statuses.
func exitCode(err error) int {
	var usage *usageError
	var status *statusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &status):
		return status.code
	default:
		return exitFailed
	}
}
