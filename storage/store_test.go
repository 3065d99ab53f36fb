package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func createRole(args []string) error {
	s, err := Open(context.Background(), args[0], Options{})
	if err != nil {
		return err
	}
	return s.Close()
}

func TestOpenCreates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := openTest(t, dir)
	checkClean(t, s)
	if st := must(os.Stat(dir))(t); st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, want 0700", st.Mode())
	}
	if got := inTmp(t, s); got != "" {
		t.Errorf("opening alone left %s in tmp", got)
	}
	openTest(t, dir)
}

func TestOpenTakesEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/lost+found", 0o700); err != nil {
		t.Fatal(err)
	}
	checkClean(t, openTest(t, dir))
}

func TestOpenRefusesWhatIsNotStorage(t *testing.T) {
	tests := map[string]map[string]string{
		"a file":                    {"thesis.tex": "x"},
		"a directory":               {"src/main.go": "x"},
		"our names, no version":     {"images/holiday.jpg": "x"},
		"our names, empty version":  {"images/holiday.jpg": "x", "version": ""},
		"other names, version":      {"version": "2\n", "trees/oak": "x"},
		"Charliecloud's storage":    {"version": "7\n", "img/alpine/x": "", "dlcache/x": "", "bucache/HEAD": "x", "ulcache/x": ""},
		"somebody's version file":   {"version": "v1.4-beta\n"},
		"only a number in version":  {"version": "12\n"},
		"our version and no layout": {"version": "0\n", "trees/x": ""},
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, content := range files {
				os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755)
				if err := os.WriteFile(filepath.Join(dir, f), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Open(context.Background(), dir, Options{}); !errors.Is(err, ErrNotStorage) {
				t.Errorf("open: %v, want ErrNotStorage", err)
			}
			if err := Reset(context.Background(), dir, Options{}); !errors.Is(err, ErrNotStorage) {
				t.Errorf("reset: %v, want ErrNotStorage", err)
			}
			for f := range files {
				if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
					t.Errorf("%s is gone: %v", f, err)
				}
			}
		})
	}
}

func TestOtherVersion(t *testing.T) {
	s := newTest(t)
	for _, have := range []string{"99\n", "0", " 2 \n"} {
		if err := os.WriteFile(s.path(versionFile), []byte(have), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(context.Background(), s.Dir(), Options{})
		var v *VersionError
		if !errors.As(err, &v) || !errors.Is(err, ErrVersion) || v.Dir != s.Dir() || v.Want != Version {
			t.Fatalf("version %q: %v", have, err)
		}
		if !strings.Contains(v.Hint(), "virga reset") {
			t.Errorf("hint %q does not name reset", v.Hint())
		}
	}
	if err := Reset(context.Background(), s.Dir(), Options{}); err != nil {
		t.Fatal(err)
	}
	checkClean(t, openTest(t, s.Dir()))
}

func TestOpenFinishesInterruptedCreation(t *testing.T) {
	// Every prefix of what create makes, and an index cut off in the making.
	made := append([]string{versionFile}, skeleton[:]...)
	for n := range len(made) + 1 {
		dir := t.TempDir()
		for _, name := range made[:n] {
			if name == versionFile {
				os.WriteFile(filepath.Join(dir, name), nil, 0o600)
			} else if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if n == len(made) {
			os.WriteFile(filepath.Join(dir, indexFile), nil, 0o600)
		}
		checkClean(t, openTest(t, dir))
	}
}

func TestOpenUnwritable(t *testing.T) {
	dir := t.TempDir()
	out := must(runUser(t, dir, "open-unwritable", dir+"/ro"))(t)
	if out != "" {
		t.Error(out)
	}
}

func TestOpenAnothersDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have a directory of another user")
	}
	dir := t.TempDir()
	s := openTest(t, dir+"/s")
	if err := os.Chown(s.Dir(), 4242, 4242); err != nil {
		t.Fatal(err)
	}
	os.Chmod(s.Dir(), 0o777)
	if out := must(runUser(t, dir, "open-foreign", s.Dir()))(t); out != "" {
		t.Error(out)
	}
}

// runUser runs a part of a test as an ordinary user; what it prints is what
// went wrong.
func runUser(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := child(t, "user", args...)
	unprivileged(t, cmd, dir)
	out, err := cmd.Output()
	return string(out), err
}

// userRole holds the parts of tests that make sense without privilege only.
func userRole(args []string) error {
	ctx := context.Background()
	switch dir := args[1]; args[0] {
	case "open-unwritable":
		os.Mkdir(dir, 0o500)
		_, err := Open(ctx, dir+"/storage", Options{})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "create storage") {
			println("create in an unwritable directory: " + errText(err))
		}
		// An existing storage directory can be read on a read-only file system.
		os.Chmod(dir, 0o700)
		s, err := Open(ctx, dir+"/storage", Options{})
		if err != nil {
			return err
		}
		if _, err := addImage(s, "app", "x"); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		exec.Command("chmod", "-R", "a-w", dir).Run()
		defer exec.Command("chmod", "-R", "u+w", dir).Run()
		if s, err = Open(ctx, dir+"/storage", Options{}); err != nil {
			return err
		}
		if _, err := s.Lookup("app"); err != nil {
			return err
		}
		if _, err := s.NewWork(ctx); !errors.Is(err, fs.ErrPermission) {
			os.Stdout.WriteString("work in an unwritable storage: " + errText(err))
		}
		return s.Close()
	case "open-foreign":
		if _, err := Open(ctx, dir, Options{}); !errors.Is(err, ErrOwner) {
			os.Stdout.WriteString("open: " + errText(err))
		}
	case "commit-readonly-root":
		return commitReadOnlyRoot(dir)
	}
	return nil
}

func errText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

func TestConcurrentCreation(t *testing.T) {
	for range 5 {
		dir := filepath.Join(t.TempDir(), "s")
		var cmds []*exec.Cmd
		for range 6 {
			cmd := child(t, "create", dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		for _, cmd := range cmds {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
		checkClean(t, openTest(t, dir))
	}
}

func TestReset(t *testing.T) {
	s := newTest(t)
	must(addImage(s, "app", "x"))(t)
	ctx := context.Background()
	if err := Reset(ctx, s.Dir(), Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("reset while in use: %v, want ErrBusy", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("mine.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Reset(ctx, s.Dir(), Options{}); !errors.Is(err, ErrNotStorage) || !strings.Contains(err.Error(), "mine.txt") {
		t.Errorf("reset with a foreign file: %v", err)
	}
	if _, err := openTest(t, s.Dir()).Lookup("app"); err != nil {
		t.Errorf("after a refused reset: %v", err)
	}
	os.Remove(s.path("mine.txt"))
	if err := Reset(ctx, s.Dir(), Options{}); err != nil {
		t.Fatal(err)
	}
	if left := must(os.ReadDir(s.Dir()))(t); len(left) > 0 {
		t.Errorf("reset left %v", left)
	}
	for _, dir := range []string{s.Dir(), filepath.Join(s.Dir(), "missing")} {
		if err := Reset(ctx, dir, Options{}); err != nil {
			t.Errorf("reset of an empty or missing directory: %v", err)
		}
	}
	checkClean(t, openTest(t, s.Dir()))
}

// TestOpenAfterInterruptedReset removes what a killed Reset has removed by
// then, for every moment to be killed at.
func TestOpenAfterInterruptedReset(t *testing.T) {
	frame := []string{tmpDir, locksDir, notesDir, mountsDir, cacheDir, imgDir, "blobs", treesDir, imagesDir, indexFile, layoutFile, lockFile}
	for n := range len(frame) + 1 {
		s := newTest(t)
		for _, name := range frame[:n] {
			if err := os.RemoveAll(s.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		checkClean(t, openTest(t, s.Dir()))
		if err := Reset(context.Background(), s.Dir(), Options{}); err != nil {
			t.Fatal(err)
		}
	}
}
