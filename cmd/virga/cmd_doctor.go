package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/progress"
	"virga/storage"
	"virga/unpriv"
)

func doctorCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what this host and the storage directory can do",
		Description: `A line for each thing looked at: "ok", "note" if there is something to know, or
"bad" with the remedy. The status is 1 if there is a "bad". The storage
directory is checked, too, if it exists; nothing is changed.`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			return runDoctor(c.Context, env)
		},
	}
}

// finding is one line of doctor.
type finding struct{ grade, what, text string }

// The grades of findings.
const (
	gradeOK   = "ok"
	gradeNote = "note"
	gradeBad  = "bad"
)

// runDoctor looks from outside, and at the storage from inside of the
// namespaces, by a second run of the same command line.
func runDoctor(ctx context.Context, env *environment) error {
	var outer error
	if !unpriv.Entered() {
		f := unpriv.Probe(ctx)
		if outer = env.findings(hostFindings(f)); f.UserNS != nil {
			return outer
		}
	}
	done, err := env.enter(ctx, unpriv.Entry{})
	if err == nil && !done {
		err = env.findings(storageFindings(ctx, env))
	}
	if err == nil {
		err = outer
	}
	return err
}

func (env *environment) findings(list []finding) error {
	var bad error
	for _, f := range list {
		if _, err := fmt.Fprintf(env.stdout, "%-5s%s: %s\n", f.grade, f.what, progress.Clean(oneLine(f.text))); err != nil {
			return err
		}
		if f.grade == gradeBad {
			bad = &statusError{code: exitFailed}
		}
	}
	return bad
}

// hostFindings is what the kernel and its settings allow.
func hostFindings(f unpriv.Features) []finding {
	out := []finding{{gradeOK, "kernel", "Linux " + f.Kernel}}
	out = append(out, limits()...)
	for _, l := range lacking(f) {
		what, text, _ := strings.Cut(l, ": ")
		grade := gradeNote
		if f.UserNS != nil {
			grade = gradeBad
		}
		out = append(out, finding{grade, what, text})
	}
	if f.UserNS == nil {
		out = append(out, finding{gradeOK, "user namespaces", "can be made and mounted in"})
	}
	if f.Overlay == nil {
		out = append(out, finding{gradeOK, "overlay mounts by users", "work"})
	}
	if level, why := fakeroot.Probe(); why == "" {
		out = append(out, finding{gradeOK, "root emulation", level.String()})
	}
	return out
}

// limits are settings of the kernel that stop user namespaces on some systems.
func limits() []finding {
	var out []finding
	for _, s := range []struct {
		file, bad, remedy string
	}{
		{"user/max_user_namespaces", "0", "no user namespaces; root sets: sysctl user.max_user_namespaces=15000"},
		{"kernel/unprivileged_userns_clone", "0", "not for users (Debian); root sets: sysctl kernel.unprivileged_userns_clone=1"},
		{"kernel/apparmor_restrict_unprivileged_userns", "1", "user namespaces have no capabilities (Ubuntu 23.10 and newer) unless an AppArmor profile allows them for virga; " +
			"root adds one, or sets: sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		b, err := os.ReadFile("/proc/sys/" + s.file)
		if err != nil {
			continue // this kernel has no such setting
		}
		f := finding{gradeOK, strings.ReplaceAll(s.file, "/", "."), strings.TrimSpace(string(b))}
		if f.text == s.bad {
			f.grade, f.text = gradeBad, f.text+": "+s.remedy
		}
		out = append(out, f)
	}
	return out
}

// storageFindings looks at the storage directory, or where it will be made.
func storageFindings(ctx context.Context, env *environment) []finding {
	dir, err := env.storageDir()
	if err != nil {
		return []finding{{gradeBad, "storage", err.Error()}}
	}
	out := []finding{}
	there := true
	look := dir
	for _, err := os.Stat(look); err != nil && look != "/"; _, err = os.Stat(look) {
		there, look = false, filepath.Dir(look)
	}
	if !there {
		out = append(out, finding{gradeNote, "storage", strconv.Quote(dir) + " does not exist yet"})
	} else {
		out = append(out, finding{gradeOK, "storage", dir})
	}
	out = append(out, fileSystemFindings(look)...)
	if err := unix.Access(look, unix.W_OK|unix.X_OK); err != nil {
		return append(out, finding{gradeBad, "storage", fmt.Sprintf("%q cannot be written: %v; choose another with --storage or $VIRGA_STORAGE", look, err)})
	}
	if err := unpriv.ProbeOverlay(ctx, look); err != nil {
		out = append(out, finding{gradeNote, "overlay mounts in storage", err.Error() + "; builds copy files, which takes longer"})
	} else {
		out = append(out, finding{gradeOK, "overlay mounts in storage", "work"})
	}
	out = append(out, xattrFinding(unpriv.ProbeXattr(look)))
	if there && !isEmpty(dir) { // opening an empty one would make it storage
		out = append(out, consistency(ctx, env)...)
	}
	return out
}

func isEmpty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

func consistency(ctx context.Context, env *environment) []finding {
	store, err := env.openStorage(ctx)
	if err != nil {
		grade := finding{gradeBad, "storage", err.Error()}
		if h := hintFor(err); h != "" {
			grade.text += "; " + h
		}
		return []finding{grade}
	}
	defer env.closeStorage(store)
	problems, err := store.Check(ctx, storage.CheckOptions{})
	if err != nil && !errors.Is(err, context.Canceled) {
		return []finding{{gradeBad, "storage", err.Error()}}
	}
	if len(problems) == 0 {
		return []finding{{gradeOK, "storage", "is consistent"}}
	}
	var out []finding
	for _, p := range problems {
		out = append(out, finding{gradeBad, "storage", p.String() + "; pull or build the image again, or virga reset"})
	}
	return out
}
