package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"virga/fakeroot"
	"virga/unpriv"
)

// runDependencies prints what this host lacks, a line each with the remedy, and
// fails if there is such a line. What can only be found out in the namespaces
// of a build is found out there, by a second run of the same command line.
func runDependencies(ctx context.Context, env *environment) error {
	var outer error
	if !unpriv.Entered() {
		f := unpriv.Probe(ctx)
		if outer = env.lack(lacking(f)); f.UserNS != nil {
			return outer
		}
	}
	done, err := env.enter(ctx, unpriv.Entry{})
	if err == nil && !done {
		err = env.lack(lackingStorage(ctx, env))
	}
	if err == nil {
		err = outer
	}
	return err
}

// lack prints the lines and is silent failure if there are any.
func (env *environment) lack(lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(env.stdout, l); err != nil {
			return err
		}
	}
	if len(lines) > 0 {
		return &statusError{code: exitFailed}
	}
	return nil
}

// lacking says what stands against the main job in the kernel and its settings.
func lacking(f unpriv.Features) []string {
	if f.UserNS != nil {
		return []string{lackLine("user namespaces", f.UserNS, "needed to build and to run; enable them (user.max_user_namespaces)")}
	}
	var out []string
	if f.Overlay != nil {
		out = append(out, lackLine("overlay mounts by users", f.Overlay, "without them builds copy files; Linux 5.11 or newer has them"))
	}
	if f.PIDNS != nil {
		out = append(out, lackLine("a /proc for new PID namespaces", f.PIDNS, "builds see the host's processes; a container's runtime may hide parts of /proc"))
	}
	if level, why := fakeroot.Probe(); why != "" {
		out = append(out, fmt.Sprintf("root emulation: %s; its level is %q, the best is %q", why, level, fakeroot.LevelFaithful))
	}
	return out
}

// lackingStorage says whether the storage directory, or the directory that it
// will be made in, can hold overlays.
func lackingStorage(ctx context.Context, env *environment) []string {
	dir, err := env.storageDir()
	if err != nil {
		return []string{lackLine("storage", err, "")}
	}
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Dir(dir)
	}
	if err := unpriv.ProbeOverlay(ctx, dir); err != nil {
		return []string{lackLine(fmt.Sprintf("overlay mounts in %q", dir), err, "choose a storage directory on another file system (--storage, $VIRGA_STORAGE)")}
	}
	return nil
}

// lackLine is one line: what is lacking, the cause, and the remedy, which the
// error may know better.
func lackLine(what string, err error, remedy string) string {
	var own interface{ Hint() string }
	if errors.As(err, &own) && own.Hint() != "" {
		remedy = own.Hint()
	}
	line := what + ": " + err.Error()
	if remedy != "" {
		line += "; " + remedy
	}
	return oneLine(line)
}
