package unpriv

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ExecError says why a program of the image could not be started.
type ExecError struct {
	Program string // as given, or the path that it was found at
	Err     error
}

func (e *ExecError) Error() string { return fmt.Sprintf("run %q: %v", e.Program, e.Err) }

func (e *ExecError) Unwrap() error { return e.Err }

// Status is 127 for a program that does not exist and 126 for one that cannot
// be executed, as shells have it.
func (e *ExecError) Status() int {
	if errors.Is(e.Err, unix.ENOENT) {
		return 127
	}
	return 126
}

// Hint advises on common causes.
func (e *ExecError) Hint() string {
	switch {
	case errors.Is(e.Err, unix.ENOEXEC):
		return "the program is for another architecture (see virga inspect), or a script without a #! line"
	case errors.Is(e.Err, unix.ENOENT):
		return "is it installed in the image, and the interpreter of its #! line or its ELF loader too? PATH is searched in the image"
	case errors.Is(e.Err, unix.EACCES):
		return "is it a file, and executable?"
	}
	return ""
}

// CwdError says that the working directory does not exist in the image.
type CwdError struct {
	Dir string
	Err error
}

func (e *CwdError) Error() string {
	return fmt.Sprintf("enter directory %q of the image: %v", e.Dir, e.Err)
}

func (e *CwdError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *CwdError) Hint() string { return "choose another directory, or create it in the image" }
