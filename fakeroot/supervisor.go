package fakeroot

import (
	"log/slog"
	"os"
)

// Credentials are the ids that a program starts with: a Dockerfile's USER.
type Credentials struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups
}

// Options for a [Supervisor]. Records is required.
type Options struct {
	Mode    Mode
	Level   Level
	Records *Records
	// Proc is /proc of the PID namespace that the supervising thread lives in
	// (not the container's), opened before the container's root is entered.
	// nil means that /proc as seen by Serve is it.
	Proc *os.File
	// User are the credentials of the first program; zero is root.
	User Credentials
	// Log takes what a user of --debug would want to know; nil is silence.
	Log *slog.Logger
}

// Supervisor answers the notifications of a filter made by [Program].
type Supervisor struct{}

// New makes a supervisor.
func New(o Options) (*Supervisor, error) { panic("BUG: not yet") }

// Serve answers notifications until no process is left under the filter, or
// Stop is called. It must be called on a locked OS thread (which it changes:
// working directory, umask; let it end with its goroutine), inside the
// container's mount namespace and root, in the user namespace that the container
// runs in, and not under the filter. It does not close listener.
func (s *Supervisor) Serve(listener int) error { panic("BUG: not yet") }

// Stop makes Serve return soon. It may be called from any goroutine.
func (s *Supervisor) Stop() { panic("BUG: not yet") }

// Stats counts what a supervisor did.
type Stats struct {
	Notifications uint64 // received
	Continued     uint64 // left to the kernel
	Recorded      int    // records in memory
}

// Stats returns the counts so far, from any goroutine.
func (s *Supervisor) Stats() Stats { panic("BUG: not yet") }
