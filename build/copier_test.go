package build

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/internal/inroot"
)

// mktree makes a tree from lines: "d 755 path", "f 644 path content",
// "l path target", "h path other".
func mktree(t *testing.T, dir string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		f := strings.SplitN(line, " ", 4)
		var err error
		switch f[0] {
		case "d":
			var mode uint32
			fmt.Sscanf(f[1], "%o", &mode)
			if err = os.MkdirAll(filepath.Join(dir, f[2]), 0o755); err == nil {
				err = unix.Chmod(filepath.Join(dir, f[2]), mode)
			}
		case "f":
			var mode uint32
			fmt.Sscanf(f[1], "%o", &mode)
			name := filepath.Join(dir, f[2])
			os.MkdirAll(filepath.Dir(name), 0o755)
			if err = os.WriteFile(name, []byte(strings.Join(f[3:], "")), 0o644); err == nil {
				err = unix.Chmod(name, mode)
			}
		case "l":
			os.MkdirAll(filepath.Dir(filepath.Join(dir, f[1])), 0o755)
			err = os.Symlink(f[2], filepath.Join(dir, f[1]))
		case "h":
			err = os.Link(filepath.Join(dir, f[2]), filepath.Join(dir, f[1]))
		case "p":
			err = unix.Mkfifo(filepath.Join(dir, f[1]), 0o644)
		}
		if err != nil {
			t.Fatal(line, err)
		}
	}
}

// listing prints a tree in the form that mktree reads, sorted by path.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		mode := st.Mode & 0o7777
		switch fi.Mode().Type() {
		case 0:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			out = append(out, fmt.Sprintf("f %o %s %s", mode, rel, b))
		case fs.ModeDir:
			out = append(out, fmt.Sprintf("d %o %s", mode, rel))
		case fs.ModeSymlink:
			target, _ := os.Readlink(p)
			out = append(out, fmt.Sprintf("l %s %s", rel, target))
		default:
			out = append(out, fmt.Sprintf("? %v %s", fi.Mode().Type(), rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type copyCase struct {
	name     string
	src, dst []string // trees
	args     []string
	dest     string
	exclude  []string
	ignore   string
	chown    *fakeroot.Record
	chmod    string
	parents  bool
	want     []string // listing of dst
	err      string
}

var copyCases = []copyCase{
	{name: "file to new name", src: []string{"f 640 a x"}, args: []string{"a"}, dest: "/b", want: []string{"f 640 b x"}},
	{name: "file into existing directory", src: []string{"f 644 a x"}, dst: []string{"d 700 d"}, args: []string{"a"}, dest: "/d", want: []string{"d 700 d", "f 644 d/a x"}},
	{name: "final slash makes a directory", src: []string{"f 644 a x"}, args: []string{"a"}, dest: "/n/e/", want: []string{"d 755 n", "d 755 n/e", "f 644 n/e/a x"}},
	{name: "parents are made", src: []string{"f 644 a x"}, args: []string{"a"}, dest: "/n/e/w", want: []string{"d 755 n", "d 755 n/e", "f 644 n/e/w x"}},
	{name: "directory copies its contents", src: []string{"d 700 s", "f 644 s/a x", "d 711 s/t", "f 600 s/t/b y"}, args: []string{"s"}, dest: "/d",
		want: []string{"d 755 d", "f 644 d/a x", "d 711 d/t", "f 600 d/t/b y"}},
	{name: "existing top directory keeps its mode, deeper ones do not", src: []string{"d 700 s", "d 711 s/t"}, dst: []string{"d 750 d", "d 755 d/t"}, args: []string{"s"}, dest: "/d",
		want: []string{"d 750 d", "d 711 d/t"}},
	{name: "whole context", src: []string{"f 644 a x", "d 755 b", "l b/l ../a"}, args: []string{"."}, dest: "/", want: []string{"f 644 a x", "d 755 b", "l b/l ../a"}},
	{name: "wildcard", src: []string{"f 644 a.c 1", "f 644 b.c 2", "f 644 c.h 3"}, args: []string{"*.c"}, dest: "/s/", want: []string{"d 755 s", "f 644 s/a.c 1", "f 644 s/b.c 2"}},
	{name: "wildcard in the middle", src: []string{"f 644 x/lib/a 1", "f 644 y/lib/b 2", "f 644 z/b 3"}, args: []string{"*/lib"}, dest: "/s/", want: []string{"d 755 s", "f 644 s/a 1", "f 644 s/b 2"}},
	{name: "empty wildcard", src: []string{"f 644 a 1"}, args: []string{"a", "*.none"}, dest: "/s/", want: []string{"d 755 s", "f 644 s/a 1"}},
	{name: "link as source is followed", src: []string{"f 644 a x", "l l a"}, args: []string{"l"}, dest: "/d/", want: []string{"d 755 d", "f 644 d/l x"}},
	{name: "link to directory as source", src: []string{"f 644 r/a x", "l l r"}, args: []string{"l"}, dest: "/d", want: []string{"d 755 d", "f 644 d/a x"}},
	{name: "absolute link stays inside the context", src: []string{"f 644 etc/passwd ours", "l l /etc/passwd"}, args: []string{"l"}, dest: "/p", want: []string{"f 644 p ours"}},
	{name: "deeper link is copied as it is", src: []string{"l s/l /etc/shadow"}, args: []string{"s"}, dest: "/d", want: []string{"d 755 d", "l d/l /etc/shadow"}},
	{name: "dot dot cannot leave", src: []string{"f 644 a x"}, args: []string{"../../a"}, dest: "/b", want: []string{"f 644 b x"}},
	{name: "destination through a link", src: []string{"f 644 a x"}, dst: []string{"d 755 real", "l l real"}, args: []string{"a"}, dest: "/l/b", want: []string{"l l real", "d 755 real", "f 644 real/b x"}},
	{name: "destination through an absolute link", src: []string{"f 644 a x"}, dst: []string{"l l /made"}, args: []string{"a"}, dest: "/l/b", want: []string{"l l /made", "d 755 made", "f 644 made/b x"}},
	{name: "destination is a link to a file", src: []string{"f 644 a new"}, dst: []string{"f 644 t old", "l l t"}, args: []string{"a"}, dest: "/l", want: []string{"l l t", "f 644 t new"}},
	{name: "deeper file replaces link", src: []string{"f 644 s/l new"}, dst: []string{"d 755 d", "f 644 t old", "l d/l ../t"}, args: []string{"s"}, dest: "/d", want: []string{"d 755 d", "f 644 d/l new", "f 644 t old"}},
	{name: "deeper link replaces file", src: []string{"l s/l x"}, dst: []string{"f 644 d/l old"}, args: []string{"s"}, dest: "/d", want: []string{"d 755 d", "l d/l x"}},
	{name: "file never replaces an empty directory", src: []string{"f 644 s/e x"}, dst: []string{"d 755 d/e"}, args: []string{"s"}, dest: "/d", err: "cannot replace a directory by a file"},
	{name: "file never replaces a full directory", src: []string{"f 644 s/e x"}, dst: []string{"f 644 d/e/f y"}, args: []string{"s"}, dest: "/d", err: "cannot replace a directory by a file"},
	{name: "directory never replaces a file", src: []string{"f 644 s/e/f x"}, dst: []string{"f 644 d/e y"}, args: []string{"s"}, dest: "/d", err: "cannot copy to non-directory"},
	{name: "directory onto a file", src: []string{"f 644 s/a x"}, dst: []string{"f 644 d y"}, args: []string{"s"}, dest: "/d", err: "cannot copy to non-directory"},
	{name: "missing source", src: []string{"f 644 a x"}, args: []string{"nope"}, dest: "/d", err: `source "nope": no such file or directory`},
	{name: "ignored source", src: []string{"f 644 a x"}, ignore: "a", args: []string{"a"}, dest: "/d", err: "excluded by the ignore file"},
	{name: "ignore file", src: []string{"f 644 a.o x", "f 644 b.c y", "f 644 d/c.o z", "f 644 d/k.c w"}, ignore: "**/*.o", args: []string{"."}, dest: "/", want: []string{"f 644 b.c y", "d 755 d", "f 644 d/k.c w"}},
	{name: "ignore file with exception", src: []string{"f 644 d/a 1", "f 644 d/b 2", "f 644 e/c 3"}, ignore: "d\ne\n!d/b", args: []string{"."}, dest: "/", want: []string{"d 755 d", "f 644 d/b 2"}},
	{name: "exclude", src: []string{"f 644 s/a.txt 1", "f 644 s/b.md 2"}, exclude: []string{"*.txt"}, args: []string{"s"}, dest: "/d", want: []string{"d 755 d", "f 644 d/b.md 2"}},
	{name: "hard links", src: []string{"f 644 s/a 1", "h s/b s/a"}, args: []string{"s"}, dest: "/d", want: []string{"d 755 d", "f 644 d/a 1", "f 644 d/b 1"}},
	{name: "fifo", src: []string{"d 755 s", "p s/f"}, args: []string{"s"}, dest: "/d", want: []string{"d 755 d", "? p--------- d/f"}},
	{name: "chmod octal", src: []string{"f 644 s/a 1", "d 755 s/d"}, chmod: "700", args: []string{"s"}, dest: "/d", want: []string{"d 700 d", "f 700 d/a 1", "d 700 d/d"}},
	{name: "excluded source", src: []string{"f 644 a 1", "f 644 b 2"}, exclude: []string{"a"}, args: []string{"a", "b"}, dest: "/d/", want: []string{"d 755 d", "f 644 d/b 2"}},
	{name: "rule after an exception", src: []string{"f 644 s/k/a 1", "f 644 s/l/a 2"}, ignore: "s !s/**/a s/k", args: []string{"."}, dest: "/", want: []string{"d 755 s", "d 755 s/l", "f 644 s/l/a 2"}},
	{name: "parents", src: []string{"d 711 a", "d 700 a/b", "f 644 a/b/c 1"}, dst: []string{"d 755 d/a"}, args: []string{"a/b/c", "a/b"}, dest: "/d", parents: true,
		want: []string{"d 755 d", "d 711 d/a", "d 700 d/a/b", "f 644 d/a/b/c 1"}},
	{name: "parents from a pivot", src: []string{"d 711 a", "d 700 a/b", "f 644 a/b/c 1"}, args: []string{"a/./b/c"}, dest: "/d", parents: true,
		want: []string{"d 755 d", "d 700 d/b", "f 644 d/b/c 1"}},
	{name: "parents of wildcards", src: []string{"f 644 a/b/1.c 1", "f 644 a/2.c 2", "f 644 3.c 3", "f 644 e/4.h 4"}, args: []string{"**/*.c"}, dest: "/d", parents: true,
		want: []string{"d 755 d", "f 644 d/3.c 3", "d 755 d/a", "f 644 d/a/2.c 2", "d 755 d/a/b", "f 644 d/a/b/1.c 1"}},
	{name: "parents and exclude", src: []string{"f 644 a/b/x 1", "f 644 a/b/y 2", "f 644 a/y 3"}, exclude: []string{"a/b/x", "y"}, args: []string{"a"}, dest: "/d", parents: true,
		want: []string{"d 755 d", "d 755 d/a", "d 755 d/a/b", "f 644 d/a/b/y 2", "f 644 d/a/y 3"}},
	{name: "parents and missing source", src: []string{"f 644 a/b 1"}, args: []string{"a/c"}, dest: "/d", parents: true, err: `source "a/c": no such file`},
	{name: "contents of the pivot", src: []string{"f 644 a/b 1"}, args: []string{"a/./"}, dest: "/d", parents: true, want: []string{"d 755 d", "f 644 d/b 1"}},
	{name: "chmod symbolic", src: []string{"f 644 s/a 1", "d 700 s/d"}, chmod: "go=u,o-w,a+X", args: []string{"s"}, dest: "/d", err: "unknown permission"},
	{name: "chmod symbolic X", src: []string{"f 644 s/a 1", "d 700 s/d"}, chmod: "g+w,o=rX", args: []string{"s"}, dest: "/d", want: []string{"d 755 d", "f 664 d/a 1", "d 725 d/d"}},
	{name: "setuid stays", src: []string{"f 4755 a 1"}, args: []string{"a"}, dest: "/a", want: []string{"f 4755 a 1"}},
}

func TestCopy(t *testing.T) {
	for _, tt := range copyCases {
		t.Run(tt.name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			mktree(t, src, tt.src...)
			mktree(t, dst, tt.dst...)
			_, err := runCopyCase(t, tt, src, dst)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(t, dst); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func runCopyCase(t *testing.T, tt copyCase, src, dst string) (*copier, error) {
	t.Helper()
	s, d := openRoot(t, src), openRoot(t, dst)
	ignore, err := newMatcher(strings.Fields(tt.ignore))
	if err != nil {
		t.Fatal(err)
	}
	exclude, err := newMatcher(tt.exclude)
	if err != nil {
		t.Fatal(err)
	}
	from := &source{root: s, ignore: filter{ignore}}
	c := &copier{src: from, dst: d, owner: tt.chown, placed: fakeroot.Table{}, links: map[[2]uint64]string{}}
	if tt.chmod != "" {
		if c.chmod, c.parentMode, err = parseChmod(tt.chmod); err != nil {
			return nil, err
		}
	}
	p := placement{parents: tt.parents}
	isDir := strings.HasSuffix(tt.dest, "/") || len(tt.args) > 1
	for _, a := range tt.args {
		find := from.find
		if tt.parents {
			find = from.findParents
		}
		ms, err := find(t.Context(), a, filter{exclude})
		if err != nil {
			return nil, err
		}
		for i := range ms {
			if err := p.copyMatch(t.Context(), c, group{src: from}, &ms[i], copyKey{Dest: tt.dest, Dir: isDir}); err != nil {
				return nil, err
			}
		}
	}
	return c, c.finishTimes()
}

func openRoot(t *testing.T, dir string) *inroot.Root {
	t.Helper()
	r, err := inroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestCopyRecordsOwners(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	mktree(t, src, "f 644 s/a 1")
	c, err := runCopyCase(t, copyCase{args: []string{"s"}, dest: "/n/d", chown: &fakeroot.Record{UID: 5, GID: 6}}, src, dst)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"n", "n/d", "n/d/a"} {
		if r := c.placed[p]; r.UID != 5 || r.GID != 6 {
			t.Errorf("%s is recorded as %+v, want 5:6", p, r)
		}
	}
}

func TestCopyKeepsTimesAndLinks(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	mktree(t, src, "f 644 s/d/a 1", "h s/d/b s/d/a")
	old := unix.NsecToTimespec(1_000_000_123_456_789)
	for _, p := range []string{"s/d/a", "s/d"} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(src, p), []unix.Timespec{old, old}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := runCopyCase(t, copyCase{args: []string{"s"}, dest: "/d"}, src, dst); err != nil {
		t.Fatal(err)
	}
	var a, b unix.Stat_t
	for p, st := range map[string]*unix.Stat_t{"d/d/a": &a, "d/d/b": &b} {
		if err := unix.Lstat(filepath.Join(dst, p), st); err != nil || st.Mtim != old {
			t.Errorf("%s: mtime %v, %v; want %v", p, st.Mtim, err, old)
		}
	}
	if a.Ino != b.Ino {
		t.Error("hard links became two files")
	}
	if err := unix.Lstat(filepath.Join(dst, "d/d"), &a); err != nil || a.Mtim != old {
		t.Errorf("directory: mtime %v, %v; want %v", a.Mtim, err, old)
	}
}

// The digest changes with names, modes and contents, and with nothing else.
func TestSourceDigest(t *testing.T) {
	sumOf := func(lines ...string) sum {
		dir := t.TempDir()
		mktree(t, dir, lines...)
		s := &source{root: openRoot(t, dir)}
		m, err := s.find(t.Context(), "s", filter{})
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.digest(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	base := sumOf("f 644 s/a 1", "l s/l a")
	if sumOf("f 644 s/a 1", "l s/l a") != base {
		t.Error("the same tree made twice has two digests")
	}
	for _, other := range [][]string{
		{"f 644 s/a 2", "l s/l a"}, {"f 600 s/a 1", "l s/l a"}, {"f 644 s/b 1", "l s/l a"}, {"f 644 s/a 1", "l s/l b"},
		{"f 644 s/a 1", "l s/l a", "d 755 s/d"}, {"f 644 s/a 1"},
	} {
		if sumOf(other...) == base {
			t.Errorf("%q has the digest of another tree", other)
		}
	}
}

func TestMemo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "memo")
	m := openMemo(file)
	old, young := fileID{Ino: 1, Ctim: 1}, fileID{Ino: 2, Ctim: 10e9}
	m.put(old, sum{1}, 11e9)
	m.put(young, sum{2}, 11e9)
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	m = openMemo(file)
	if s, ok := m.get(old); !ok || s != (sum{1}) {
		t.Errorf("remembered %v, %v", s, ok)
	}
	if _, ok := m.get(young); ok {
		t.Error("a file that may change again in the same clock tick was remembered")
	}
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := openMemo(file).get(old); ok {
		t.Error("a damaged memo was believed")
	}
}
