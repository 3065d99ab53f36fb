package fakeroot

import "golang.org/x/sys/unix"

// ProgramOptions says which filter [Program] makes.
type ProgramOptions struct {
	Mode  Mode
	Level Level
	// Arch is the native architecture as in GOARCH; empty means this one.
	Arch string
	// KeepSync lets fsync(2) and its family through. A build answers them with
	// 0: a tree is synced as a whole when it is finished, or thrown away.
	KeepSync bool
}

// Program returns the seccomp filter for RUN, nil if the mode has none. Its
// verdicts are ALLOW, ERRNO and, if [ProgramOptions.Notifies], USER_NOTIF;
// then it must be installed with SECCOMP_FILTER_FLAG_NEW_LISTENER (plus
// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV where the kernel takes it, Linux 5.19)
// and its listener be served by a [Supervisor].
func Program(o ProgramOptions) ([]unix.SockFilter, error) {
	panic("BUG: not yet")
}

// Notifies reports whether the filter needs a supervisor.
func (o ProgramOptions) Notifies() bool {
	return (o.Mode == ModeSeccomp || o.Mode == ModeConsistent) && o.Level >= LevelRecorded
}
