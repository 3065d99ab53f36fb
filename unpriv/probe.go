package unpriv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ProbeOverlay finds out whether directories below dir can be the upper
// directories of overlays, by using one: a file is deleted, a directory
// replaced and a file changed, and the traces are read back. Names of file
// systems say too little: some mount and then misbehave. The error says what
// did not work. It is called in the namespaces of Enter.
func ProbeOverlay(ctx context.Context, dir string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	top, err := os.MkdirTemp(dir, "probe")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	p := func(name string) string { return filepath.Join(top, name) }
	for _, d := range []string{"lower/dir/sub", "upper", "work", "merged"} {
		if err := os.MkdirAll(p(d), 0o755); err != nil {
			return err
		}
	}
	for _, f := range []string{"lower/gone", "lower/changed", "lower/dir/file"} {
		if err := os.WriteFile(p(f), []byte("lower"), 0o644); err != nil {
			return err
		}
	}
	if err := MountOverlay(p("merged"), Overlay{Lower: []string{p("lower")}, Upper: p("upper"), Work: p("work"), Volatile: true}); err != nil {
		return err
	}
	err = exercise(p)
	return errors.Join(err, Unmount(p("merged")), check(err, p), os.Chmod(p("work/work"), 0o700))
}

func exercise(p func(string) string) error {
	return errors.Join(
		os.Remove(p("merged/gone")),
		os.RemoveAll(p("merged/dir")),
		os.Mkdir(p("merged/dir"), 0o755),
		os.WriteFile(p("merged/changed"), []byte("upper"), 0o644),
		os.Chmod(p("merged/changed"), 0o600),
	)
}

// check reads what exercise left in the upper directory.
func check(err error, p func(string) string) error {
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(p("upper/gone"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		return fmt.Errorf("no whiteout for a deleted file (%v)", err)
	}
	var buf [8]byte
	if n, err := unix.Lgetxattr(p("upper/dir"), "user.overlay.opaque", buf[:]); err != nil || string(buf[:n]) != "y" {
		return fmt.Errorf("no opaque mark on a replaced directory (%v)", err)
	}
	if b, err := os.ReadFile(p("upper/changed")); err != nil || string(b) != "upper" {
		return fmt.Errorf("no copy of a changed file (%v)", err)
	}
	return nil
}
