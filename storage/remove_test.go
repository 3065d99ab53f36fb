package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// removeRole makes, as an ordinary user, a tree that is hard to remove, and
// removes it.
func removeRole(args []string) error {
	dir, outside := args[0]+"/tree", args[0]+"/outside"
	for _, d := range []string{"work/work", "a/b/c", "readonly", "nosearch"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(outside, 0o500); err != nil {
		return err
	}
	for _, f := range []string{"a/b/c/f", "readonly/f", "nosearch/f", "f"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{{outside, "link"}, {outside + "/keep", "readonly/link"}, {"..", "a/up"}} {
		if err := os.Symlink(l[0], filepath.Join(dir, l[1])); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		dir  string
		mode os.FileMode
	}{{"work/work", 0}, {"readonly", 0o500}, {"nosearch", 0o600}, {"a/b/c", 0o100}, {"a/b", 0o400}, {"a", 0o500}} {
		if err := os.Chmod(filepath.Join(dir, m.dir), m.mode); err != nil {
			return err
		}
	}
	if err := RemoveTree(context.Background(), dir); err != nil {
		return err
	}
	if exists(dir) {
		return errors.New("the tree is still there")
	}
	if st, err := os.Stat(outside); err != nil || st.Mode().Perm() != 0o500 {
		return errors.New("what a link named was touched")
	}
	return nil
}

func TestRemoveTreeModesAndLinks(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "remove", dir)
	unprivileged(t, cmd, dir)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

func TestRemoveTreeDeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// Deeper than PATH_MAX, so that it cannot be named.
	fd := must(unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0))(t)
	for range 3000 {
		if err := unix.Mkdirat(fd, "dddd", 0o700); err != nil {
			t.Fatal(err)
		}
		next := must(unix.Openat(fd, "dddd", unix.O_RDONLY|unix.O_DIRECTORY, 0))(t)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	if err := RemoveTree(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	if exists(dir) {
		t.Error("still there")
	}
}

func TestRemoveTreeTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	for i := range 30 {
		sub := filepath.Join(dir, strings.Repeat("d/", i%5), "x")
		os.MkdirAll(sub, 0o700)
		for j := range 20 {
			os.WriteFile(filepath.Join(sub, string(rune('a'+j))), nil, 0o600)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := RemoveTree(context.Background(), dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if exists(dir) {
		t.Error("still there")
	}
}

func TestRemoveTreeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	if err := RemoveTree(ctx, dir); !errors.Is(err, context.Canceled) || !exists(dir) {
		t.Errorf("got %v", err)
	}
	if err := RemoveTree(context.Background(), dir+"/missing/too"); err != nil {
		t.Errorf("missing: %v", err)
	}
}

func TestRemoveTreeWantsAPlainPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir(dir+"/sub", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", ".", "sub", dir + "/sub/..", dir + "/sub/", dir + "/."} {
		if err := RemoveTree(context.Background(), bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	if !exists(dir + "/sub") {
		t.Error("something was removed")
	}
}
