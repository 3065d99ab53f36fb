package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// testTime is what members made by the helpers carry.
var testTime = time.Unix(1700000000, 123456789)

type entry struct {
	tar.Header
	data string
}

func dir(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}}
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func sym(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

func hard(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}}
}

func wh(name string) entry { return file(name, "") }

func special(kind byte, name string) entry {
	return entry{Header: tar.Header{Typeflag: kind, Name: name, Mode: 0o644, Devmajor: 1, Devminor: 3}}
}

// nothing is the device 0:0.
func nothing(name string) entry {
	e := special(kindChar, name)
	e.Devmajor, e.Devminor = 0, 0
	return e
}

func globalHeader() entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}}
}

func (e entry) mode(m int64) entry { e.Mode = m; return e }

func (e entry) owner(uid, gid int) entry { e.Uid, e.Gid = uid, gid; return e }

func (e entry) xattr(name, value string) entry {
	e.Format = tar.FormatPAX
	e.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
	return e
}

// archive writes entries as a tar archive.
func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag != tar.TypeXGlobalHeader && e.ModTime.IsZero() {
			e.ModTime = testTime
		}
		if e.Format == tar.FormatUnknown {
			e.Format = tar.FormatPAX
		}
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// blob is a layer in memory.
func blob(b []byte) Blob {
	return Blob{
		Digest: digest.FromBytes(b),
		Size:   int64(len(b)),
		Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		},
	}
}

func blobs(t testing.TB, layers ...[]entry) []Blob {
	t.Helper()
	var bs []Blob
	for _, l := range layers {
		bs = append(bs, blob(archive(t, l...)))
	}
	return bs
}

// arena is a place with an empty root and surroundings that must not change.
type arena struct {
	root, outside string
	before        []string
}

func newArena(t testing.TB) *arena {
	t.Helper()
	top := t.TempDir()
	a := &arena{root: filepath.Join(top, "root"), outside: filepath.Join(top, "outside")}
	for _, err := range []error{
		os.Mkdir(a.root, 0o700),
		os.Mkdir(a.outside, 0o755),
		os.WriteFile(filepath.Join(a.outside, "secret"), []byte("secret"), 0o644),
		os.Mkdir(filepath.Join(a.outside, "dir"), 0o755),
		os.Chtimes(a.outside, time.Unix(1, 0), time.Unix(1, 0)),
		os.Chtimes(filepath.Join(a.outside, "dir"), time.Unix(1, 0), time.Unix(1, 0)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a.before = a.around(t)
	return a
}

// around describes everything in the arena but the root's content.
func (a *arena) around(t testing.TB) []string {
	t.Helper()
	names, err := os.ReadDir(filepath.Dir(a.root))
	if err != nil {
		t.Fatal(err)
	}
	lines := describe(t, a.outside, nil, true)
	for _, n := range names {
		lines = append(lines, n.Name())
	}
	return lines
}

// check fails the test if anything outside the root has changed.
func (a *arena) check(t testing.TB) {
	t.Helper()
	if after := a.around(t); !slices.Equal(a.before, after) {
		t.Errorf("THIS IS A PATH ESCAPE: outside the root was\n%s\nand is\n%s",
			strings.Join(a.before, "\n"), strings.Join(after, "\n"))
	}
}

// describe lists a tree, one line a file, with what the table says about it.
func describe(t testing.TB, root string, owners fakeroot.Table, times bool) []string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := describeFile(t, path, rel, &st, owners[rel])
		if st.Nlink > 1 && !d.IsDir() {
			if first, ok := inodes[st.Ino]; ok {
				line = fmt.Sprintf("hard %s = %s", rel, first)
			} else {
				inodes[st.Ino] = rel
			}
		}
		if times && !strings.HasPrefix(line, "hard") {
			line += fmt.Sprintf(" @%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		if rel != "." || times {
			lines = append(lines, line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func describeFile(t testing.TB, path, rel string, st *unix.Stat_t, rec fakeroot.Record) string {
	m := statMember(st)
	line := ""
	switch m.kind {
	case kindDir:
		line = fmt.Sprintf("dir %s %o", rel, m.mode)
	case kindFile:
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		line = fmt.Sprintf("file %s %o %.40q", rel, m.mode, b)
	case kindSymlink:
		target, _ := os.Readlink(path)
		line = fmt.Sprintf("sym %s -> %s", rel, target)
	case kindFifo:
		line = fmt.Sprintf("fifo %s %o", rel, m.mode)
	default:
		line = fmt.Sprintf("special %s %o", rel, st.Mode)
	}
	if rec.UID != 0 || rec.GID != 0 {
		line += fmt.Sprintf(" owner %d:%d", rec.UID, rec.GID)
	}
	if rec.HasPerm {
		line += fmt.Sprintf(" perm %o", rec.Perm)
	}
	if rec.Type != 0 {
		line += fmt.Sprintf(" device %o %d:%d", rec.Type, unix.Major(rec.Rdev), unix.Minor(rec.Rdev))
	}
	for k, v := range rec.Xattrs {
		line += fmt.Sprintf(" %s=%q", k, v)
	}
	return line
}

// equalLines compares descriptions of trees.
func equalLines(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
