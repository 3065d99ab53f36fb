package unpriv

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Features are what this host lets an ordinary user do. They are found out by
// doing it, in processes that end at once.
type Features struct {
	Kernel string // release, as uname(2) has it
	// UserNS is nil if user namespaces may be made and mounted in, else usually a
	// [NamespaceError].
	UserNS error
	// Overlay is nil if they may mount overlays with an upper directory in memory.
	// For one on disk see ProbeOverlay.
	Overlay error
	// PIDNS is nil if a PID namespace can have a /proc of its own. Without, RUN sees
	// the host's.
	PIDNS error
}

// Probe finds the features.
func Probe(ctx context.Context) Features {
	var u unix.Utsname
	f := Features{}
	if unix.Uname(&u) == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if f.UserNS = try(ctx, 0, func(*launch) error { return nil }); f.UserNS != nil {
		f.Overlay, f.PIDNS = f.UserNS, f.UserNS
		return f
	}
	f.Overlay = try(ctx, 0, func(l *launch) error {
		l.do("mount a file system in memory", unix.SYS_MOUNT, "tmpfs", cover, "tmpfs", 0, nil)
		o := Overlay{Lower: []string{cover + "/lower"}, Upper: cover + "/upper", Work: cover + "/work"}
		for _, dir := range []string{o.Lower[0], o.Upper, o.Work} {
			l.do("make directory", unix.SYS_MKDIRAT, unix.AT_FDCWD, dir, 0o755)
		}
		return l.overlay(cover, o)
	})
	f.PIDNS = try(ctx, unix.CLONE_NEWPID, func(l *launch) error {
		l.do("mount proc", unix.SYS_MOUNT, "proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, nil)
		return nil
	})
	return f
}

// try performs steps in a user and mount namespace, and those of flags.
func try(ctx context.Context, flags uintptr, steps func(*launch) error) error {
	l, err := newLaunch("probe")
	if err != nil {
		return err
	}
	l.flags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | flags
	l.tie()
	l.mapIDs(0, 0, os.Geteuid(), os.Getegid())
	l.follow()
	if err := steps(l); err != nil {
		l.close()
		return err
	}
	l.do("end", unix.SYS_EXIT_GROUP, 0)
	status, err := l.run(ctx, nil)
	if err == nil && status != (Status{}) {
		err = errors.New(status.String())
	}
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}
