package main

import (
	"io/fs"
	"syscall"
)

// causes are errors that say what is wrong and not what to do, and the advice
// for each. The first that matches is used, so the special ones come first.
var causes = []struct {
	cause  error
	advice string
}{
	{syscall.ENOSPC, "free some space, or choose another storage directory with --storage DIR"},
	{syscall.EDQUOT, "the disk quota is used up: free some space, or choose another storage directory with --storage DIR"},
	{syscall.EROFS, "the file system is read-only; choose another storage directory with --storage DIR"},
	{fs.ErrPermission, "check the owner and mode of the path named above"},
}

// hintedError is an error with advice.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Hint() string  { return e.hint }
func (e *hintedError) Unwrap() error { return e.error }
