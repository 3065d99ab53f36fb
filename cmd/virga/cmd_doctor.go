package main

import (
	"context"
	"errors"
	"fmt"
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

// fileSystems are kinds of file systems (statfs(2)), with advice for some.
var fileSystems = map[int64][2]string{
	unix.EXT4_SUPER_MAGIC:      {"ext4", ""},
	unix.XFS_SUPER_MAGIC:       {"xfs", ""},
	unix.BTRFS_SUPER_MAGIC:     {"btrfs", ""},
	unix.TMPFS_MAGIC:           {"tmpfs", "images use memory, which counts against the batch job, and are gone when it ends"},
	unix.OVERLAYFS_SUPER_MAGIC: {"overlay", "overlay mounts on it are not possible: files are copied"},
	unix.NFS_SUPER_MAGIC:       {"NFS", "many small files are slow on it: a local disk (/var/tmp, /scratch of the node) is better"},
	0x0BD00BD0:                 {"Lustre", "many small files are slow on it, and overlays take no upper directory: a local disk is better; else virga copies"},
	0x47504653:                 {"GPFS", "overlays take no upper directory on it: a local disk is better; else virga copies"},
	0x19830326:                 {"BeeGFS", "many small files are slow on it: a local disk is better"},
	unix.FUSE_SUPER_MAGIC:      {"FUSE", "it is as good as the program behind it; a local disk is better"},
	0x2fc12fc1:                 {"ZFS", ""},
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
	out = append(out, fileSystem(look)...)
	if err := unix.Access(look, unix.W_OK|unix.X_OK); err != nil {
		return append(out, finding{gradeBad, "storage", fmt.Sprintf("%q cannot be written: %v; choose another with --storage or $VIRGA_STORAGE", look, err)})
	}
	if err := unpriv.ProbeOverlay(ctx, look); err != nil {
		out = append(out, finding{gradeNote, "overlay mounts in storage", err.Error() + "; builds copy files, which takes longer"})
	} else {
		out = append(out, finding{gradeOK, "overlay mounts in storage", "work"})
	}
	if there {
		out = append(out, consistency(ctx, env)...)
	}
	return out
}

// lowSpace is when free space is worth a note: less is less than a base image
// with a compiler takes.
const lowSpace = 2 << 30

func fileSystem(dir string) []finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []finding{{gradeBad, "file system", err.Error()}}
	}
	kind, ok := fileSystems[int64(st.Type)]
	if !ok {
		kind[0] = fmt.Sprintf("kind %#x", st.Type)
	}
	f := finding{gradeOK, "file system", kind[0]}
	if kind[1] != "" {
		f.grade, f.text = gradeNote, kind[0]+"; "+kind[1]
	}
	free := int64(st.Bavail) * st.Bsize
	space := finding{gradeOK, "free space", progress.Bytes(free)}
	if free < lowSpace {
		space.grade, space.text = gradeNote, space.text+"; virga prune frees what is not used; a quota may allow less still"
	}
	if st.Files > 0 && st.Ffree < 10_000 {
		return []finding{f, space, {gradeBad, "free files", fmt.Sprintf("%d; an image has tens of thousands: delete files, or choose another storage directory", st.Ffree)}}
	}
	return []finding{f, space}
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
