package inroot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func tree(t *testing.T) (outside string, r *Root) {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "root")
	for _, d := range []string{"a/b", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"abs": "/etc", "up": "../../../../etc", "self": "self", "a/rel": "../etc", "dangling": "/made/here",
		"chain": "abs/../up", "file-link": "etc/passwd", "root": "/", "a/b/top": "../../..",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("inside"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "secret"), []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return top, r
}

func TestResolve(t *testing.T) {
	_, r := tree(t)
	tests := []struct {
		name   string
		follow bool
		want   string
		err    error
	}{
		{"", true, ".", nil}, {"/", true, ".", nil}, {"..", true, ".", nil}, {"../../..", false, ".", nil},
		{"etc/passwd", true, "etc/passwd", nil}, {"/abs/passwd", true, "etc/passwd", nil},
		{"up/passwd", true, "etc/passwd", nil}, {"chain/passwd", true, "etc/passwd", nil},
		{"a/rel/passwd", true, "etc/passwd", nil}, {"abs", false, "abs", nil}, {"abs", true, "etc", nil},
		{"abs/", false, "etc", nil}, {"file-link", true, "etc/passwd", nil}, {"file-link", false, "file-link", nil},
		{"self", true, "", unix.ELOOP}, {"self", false, "self", nil}, {"missing", true, "missing", nil},
		{"missing/x", true, "", unix.ENOENT}, {"etc/passwd/x", true, "", unix.ENOTDIR}, {"etc/passwd/..", true, "", unix.ENOTDIR},
		{"dangling", true, "", unix.ENOENT}, {"dangling", false, "dangling", nil}, {"root/etc", true, "etc", nil},
		{"a/b/top", true, ".", nil}, {"a/b/top/secret", true, "secret", nil}, {"a\x00b", true, "", unix.EINVAL},
		{"a/./b//", true, "a/b", nil}, {"a/../a/b", true, "a/b", nil},
	}
	for _, tt := range tests {
		p, err := r.Resolve(tt.name, tt.follow, nil)
		if !errors.Is(err, tt.err) {
			t.Errorf("Resolve(%q, %v): %v, want %v", tt.name, tt.follow, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		if p.Path != tt.want {
			t.Errorf("Resolve(%q, %v) = %q, want %q", tt.name, tt.follow, p.Path, tt.want)
		}
		p.Close()
	}
	if b, err := r.ReadFile("a/b/top/secret", 100); err == nil {
		t.Errorf("THIS IS A PATH ESCAPE: read %q", b)
	}
	if b, err := r.ReadFile("up/passwd", 100); err != nil || string(b) != "inside" {
		t.Errorf("ReadFile = %q, %v", b, err)
	}
}

func TestResolveCreates(t *testing.T) {
	top, r := tree(t)
	mkdir := func(p *Place) error { return unix.Mkdirat(p.Dir, p.Base, 0o755) }
	for name, want := range map[string]string{
		"dangling/x": "made/here/x", "up/new/x": "etc/new/x", "n/e/w": "n/e/w", "../../out/x": "out/x",
	} {
		p, err := r.Resolve(name, true, mkdir)
		if err != nil || p.Path != want {
			t.Fatalf("Resolve(%q) = %+v, %v; want %q", name, p, err, want)
		}
		p.Close()
		if _, err := os.Stat(filepath.Join(r.Name(), filepath.Dir(want))); err != nil {
			t.Error(err)
		}
	}
	if got, _ := os.ReadDir(top); len(got) != 2 {
		t.Errorf("THIS IS A PATH ESCAPE: %v beside the root", got)
	}
}

func TestNoLeak(t *testing.T) {
	_, r := tree(t)
	count := func() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }
	before := count()
	for range 10 {
		for _, n := range []string{"a/b/top", "self", "missing/x", "chain/passwd", "etc/passwd/x", "dangling"} {
			if p, err := r.Resolve(n, true, nil); err == nil {
				p.Close()
			}
		}
	}
	if after := count(); after != before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}

func TestCursor(t *testing.T) {
	top, r := tree(t)
	c := r.Cursor()
	defer c.Close()
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"etc/passwd", "etc/passwd", nil}, {"etc/missing", "etc/missing", nil}, {"etc/passwd/x", "", unix.ENOTDIR},
		{"abs/passwd", "etc/passwd", nil}, {"abs/group", "etc/group", nil}, {"abs/..", ".", nil}, {"abs/.", "etc", nil},
		{"abs", "abs", nil}, {"up", "up", nil}, {"..", ".", nil}, {"etc", "etc", nil}, {"", ".", nil}, {"self/x", "", unix.ELOOP},
		{"a/b/top/etc", "etc", nil}, {"a/b/top/secret", "secret", nil}, {"etc/a\x00b", "", unix.EINVAL}, {"nowhere/x", "", unix.ENOENT},
		{"etc/group", "etc/group", nil}, {"etc/", "etc", nil}, {"etc/shadow", "etc/shadow", nil},
	} {
		p, err := c.Resolve(tt.name)
		if !errors.Is(err, tt.err) {
			t.Errorf("Resolve(%q): %v, want %v", tt.name, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		var at, want unix.Stat_t
		if err := errors.Join(unix.Fstat(p.Dir, &at), unix.Stat(filepath.Join(r.Name(), filepath.Dir(tt.want)), &want)); err != nil {
			t.Fatal(err)
		}
		if p.Path != tt.want || at.Ino != want.Ino {
			t.Errorf("Resolve(%q) = %+v in inode %d, want %q in inode %d", tt.name, *p, at.Ino, tt.want, want.Ino)
		}
	}
	if fd, err := c.OpenFile("abs/passwd", unix.O_RDONLY); err != nil {
		t.Error(err)
	} else {
		unix.Close(fd)
	}
	if _, err := c.OpenFile("a/rel", unix.O_RDONLY); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link is opened: %v", err)
	}
	if err := os.Symlink(filepath.Join(top, "secret"), filepath.Join(r.Name(), "etc/out")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OpenFile("etc/out", unix.O_RDONLY); !errors.Is(err, unix.ELOOP) {
		t.Errorf("THIS IS A PATH ESCAPE: %v", err)
	}
}
