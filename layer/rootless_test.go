package layer

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// TestRootless: owners leave in an attribute and come back from it, from a
// directory and from an archive, and the attribute itself is in no tree.
func TestRootless(t *testing.T) {
	a, out, back := newArena(t), newArena(t), newArena(t)
	es := []entry{dir(".").owner(1, 2), dir("d").owner(33, 44), file("d/f", "x").owner(5, 0), sym("s", "x").owner(9, 9), file("root", ""),
		file("tarred", "").xattr(fakeroot.RootlessXattr, string(fakeroot.EncodeRootless(70, 80))),
		file("bad", "").xattr(fakeroot.RootlessXattr, "\xff").owner(3, 3)}
	u, err := Unpack(t.Context(), a.root, blobs(t, es), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Export(t.Context(), out.root, a.root, u.Owners, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Lgetxattr(filepath.Join(out.root, "d"), fakeroot.RootlessXattr, make([]byte, 32)); err == unix.ENOTSUP {
		t.Skip("the file system has no attributes")
	}
	want := fakeroot.Table{
		".": {UID: 1, GID: 2}, "d": {UID: 33, GID: 44}, "d/f": {UID: 5}, "tarred": {UID: 70, GID: 80}, "bad": {UID: 3, GID: 3},
	}
	got, err := ReadRootless(t.Context(), out.root)
	equalTables(t, "read", got, want, err)
	got, err = CopyTree(t.Context(), back.root, out.root, CopyOptions{})
	equalTables(t, "imported", got, want, err)
	if _, err := unix.Lgetxattr(filepath.Join(back.root, "d/f"), fakeroot.RootlessXattr, make([]byte, 32)); err != unix.ENODATA {
		t.Errorf("an imported file has the attribute: %v", err)
	}
	change := fakeroot.Table{"d": {}, "d/f": {UID: 6, GID: 7}, "s": {UID: 8}, "gone": {UID: 1}, "s/below": {UID: 1}, "root": {Gone: true}}
	if err := WriteRootless(out.root, change); err != nil {
		t.Error(err)
	}
	delete(want, "d")
	want["d/f"] = fakeroot.Record{UID: 6, GID: 7}
	got, err = ReadRootless(t.Context(), out.root)
	equalTables(t, "written", got, want, err)
}

func equalTables(t *testing.T, what string, got, want fakeroot.Table, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for p, w := range want {
		if !got[p].Equal(w) {
			t.Errorf("%s: %s is %+v, want %+v", what, p, got[p], w)
		}
		delete(got, p)
	}
	for p, r := range got {
		if os.Geteuid() == 0 || p != "s" {
			t.Errorf("%s: unexpected %s: %+v", what, p, r)
		}
	}
}

// TestRootACL: a list that the disk holds names root inside.
func TestRootACL(t *testing.T) {
	acl := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 6, 0, 0xe8, 3, 0, 0, 8, 0, 4, 0, 0xe8, 3, 0, 0, 2, 0, 6, 0, 5, 0, 0, 0, 9}
	rootACL(acl, 1000, 1001)
	want := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 6, 0, 0, 0, 0, 0, 8, 0, 4, 0, 0xe8, 3, 0, 0, 2, 0, 6, 0, 5, 0, 0, 0, 9}
	if string(acl) != string(want) {
		t.Errorf("got %v, want %v", acl, want)
	}
	rootACL(nil, 0, 0)
}
