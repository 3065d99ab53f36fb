package fakeroot

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMerge: the highest tree counts.
func TestMerge(t *testing.T) {
	got := Merge(
		Table{"a": {UID: 1}, "b": {UID: 2}, "c": {UID: 3}, "d": {UID: 4}},
		Table{"a": {UID: 9}, "b": {Gone: true}, "c": {}},
		Table{"b": {GID: 5}},
	)
	want := Table{"a": {UID: 9}, "b": {GID: 5}, "d": {UID: 4}}
	if !maps.EqualFunc(got, want, Record.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestShadow(t *testing.T) {
	lower := Table{"kept": {UID: 1}, "new": {UID: 2}, "gone": {UID: 3}, "own": {UID: 4}}
	upper := Table{"own": {UID: 5}}
	upper.Shadow(lower, func(p string) Fate {
		return map[string]Fate{"kept": Kept, "new": Replaced, "gone": Removed, "own": Replaced}[p]
	})
	want := Table{"kept": {UID: 1}, "own": {UID: 5}}
	if got := Merge(lower, upper); !maps.EqualFunc(got, want, Record.Equal) {
		t.Errorf("merged %v, want %v", got, want)
	}
}

// TestInPlace loads and collects in a plain directory: removed files' numbers
// are used again there.
func TestInPlace(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"stays", "changes", "goes"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	table := Table{"stays": {UID: 1}, "changes": {UID: 2}, "goes": {UID: 3}, "never": {UID: 4}, "link/passwd": {UID: 5}}
	r := NewRecords()
	if err := r.Load(root, table, true); err != nil {
		t.Fatal(err)
	}
	if r.Len() != 3 {
		t.Errorf("%d records, want 3: a link was followed or a missing file has one", r.Len())
	}
	for _, name := range []string{"changes", "goes"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "changes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := r.Collect(root, root, table)
	if err != nil {
		t.Fatal(err)
	}
	want := Table{"stays": {UID: 1}, "changes": {}, "goes": {Gone: true}, "never": {Gone: true}, "link/passwd": {Gone: true}}
	if !maps.EqualFunc(got, want, Record.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestWanted: a widened mode is shown as wanted until somebody changes it.
func TestWanted(t *testing.T) {
	r := Record{Perm: 0o440, HasPerm: true}
	for on, want := range map[uint32]uint32{
		unix.S_IFREG | 0o640: unix.S_IFREG | 0o440,
		unix.S_IFREG | 0o600: unix.S_IFREG | 0o600,
		unix.S_IFREG | 0o644: unix.S_IFREG | 0o644,
		unix.S_IFDIR | 0o740: unix.S_IFDIR | 0o440,
	} {
		if got := r.wanted(on); got != want {
			t.Errorf("mode %o: got %o, want %o", on, got, want)
		}
	}
	dev := Record{Type: unix.S_IFBLK, Rdev: 0x708}
	if got := dev.wanted(unix.S_IFREG | 0o600); got != unix.S_IFBLK|0o600 {
		t.Errorf("device: got %o", got)
	}
}

// TestStatLayout compares this machine's struct stat, byte by byte.
func TestStatLayout(t *testing.T) {
	a := nativeArch()
	if a == noArch || !arches[a].wide {
		t.Skip("no 64-bit struct stat for " + runtime.GOARCH)
	}
	for _, name := range []string{"/", "/dev/null", "/etc/passwd"} {
		var want unix.Stat_t
		var stx unix.Statx_t
		if err := unix.Stat(name, &want); err != nil {
			t.Fatal(err)
		}
		if err := unix.Statx(unix.AT_FDCWD, name, 0, statxWanted, &stx); err != nil {
			t.Fatal(err)
		}
		layout := arches[a].stat
		got := make([]byte, layout.size)
		layout.encode(binary.NativeEndian, got, &stx)
		b := unsafe.Slice((*byte)(unsafe.Pointer(&want)), unsafe.Sizeof(want))
		if !bytes.Equal(got, b) {
			t.Errorf("%s: got\n%x\nwant\n%x", name, got, b)
		}
	}
}

// TestStatLayoutsAreSound: no field of any layout overlaps another.
func TestStatLayoutsAreSound(t *testing.T) {
	for a := range archCount {
		l := arches[a].stat
		used := make([]bool, l.size)
		use := func(field string, at, size int) {
			for i := at; i < at+size; i++ {
				if i < 0 || i >= l.size || used[i] {
					t.Fatalf("%s: field %s at %d is outside or overlaps", arches[a].goarch, field, at)
				}
				used[i] = true
			}
		}
		use("dev", l.dev, 8)
		use("ino", l.ino, 8)
		if l.ino32 >= 0 {
			use("ino32", l.ino32, 4)
		}
		use("mode", l.mode, 4)
		use("nlink", l.nlink, l.nlinkSize)
		use("uid", l.uid, 4)
		use("gid", l.gid, 4)
		use("rdev", l.rdev, 8)
		use("size", l.length, 8)
		use("blksize", l.blksize, l.blksizeSize)
		use("blocks", l.blocks, 8)
		for _, at := range []int{l.atime, l.mtime, l.ctime} {
			use("time", at, 2*l.timeSize)
		}
	}
}

func TestACL(t *testing.T) {
	list := func(entries ...[3]uint32) []byte {
		b := binary.LittleEndian.AppendUint32(nil, aclVersion)
		for _, e := range entries {
			b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
			b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
			b = binary.LittleEndian.AppendUint32(b, e[2])
		}
		return b
	}
	own := list([3]uint32{aclUserObj, 6, noID}, [3]uint32{aclGroupObj, 4, noID}, [3]uint32{aclOther, 4, noID})
	other := list([3]uint32{aclUserObj, 6, noID}, [3]uint32{aclUser, 7, 33}, [3]uint32{aclGroupObj, 4, noID},
		[3]uint32{aclMask, 5, noID}, [3]uint32{aclOther, 0, noID})
	if aclForeign(own) || !aclForeign(other) || aclForeign(list([3]uint32{aclUser, 7, 0})) {
		t.Error("ids that the namespace does not have are not told from those that it has")
	}
	if got := aclMode(own); got != 0o644 {
		t.Errorf("mode %o, want 644", got)
	}
	if got := aclMode(other); got != 0o650 {
		t.Errorf("mode %o, want 650", got)
	}
	if got := aclMode(aclWithMode(other, 0o421)); got != 0o421 {
		t.Errorf("mode after chmod 421: %o", got)
	}
	if aclValid(other[:len(other)-1]) || aclValid(nil) || !aclValid(other) {
		t.Error("a broken list is valid, or a list broken")
	}
}

// TestListed: the lists of programs.
func TestListed(t *testing.T) {
	for _, c := range []struct {
		list, name string
		want       bool
	}{
		{careless, "python3.11", true}, {compilers, "cc1", true}, {compilers, "ld.bfd", true}, {careless, "ls", false},
		{careful, "systemd-tmpfiles", true}, {careful, "system", false}, {careful, "pg_createcluster", true}, {careful, "install", true},
		{careful, "", false}, {careful, "*", false}, {careful, "a b", false},
		{installers, "apt-get", true}, {installers, "apt-", false}, {installers, "dpkg", true},
	} {
		if got := listed(c.list, c.name); got != c.want {
			t.Errorf("listed(%q) = %v", c.name, got)
		}
	}
}

// TestWatched: the policy.
func TestWatched(t *testing.T) {
	root := newIdentity(Credentials{})
	installing := root
	installing.installing = true
	first := Record{UID: 33, GID: 33}
	user := newIdentity(Credentials{UID: 33, GID: 33})
	userInstalling := user
	userInstalling.installing = true
	for _, c := range []struct {
		id    identity
		names []string
		want  watch
		maker Record
	}{
		{id: root, names: []string{"cc1"}, want: watchNone}, {id: root, names: []string{"unknown"}, want: watchNone}, {id: root, names: []string{"tar"}, want: watchSees},
		{id: root, names: []string{"useradd"}, want: watchSees}, {id: root, names: []string{"script", "perl"}, want: watchNone},
		{id: installing, names: []string{"postinst", "sh"}, want: watchSees}, {id: installing, names: []string{"dpkg"}, want: watchNone},
		{id: installing, names: []string{"adduser", "perl"}, want: watchNone}, {id: installing, names: []string{"py3compile", "python3"}, want: watchNone},
		// Who is neither root nor the first user.
		{id: user, names: []string{"cc1"}, want: watchSees},
		{id: user, names: []string{"mandb"}, want: watchSees}, {id: userInstalling, names: []string{"mandb"}, want: watchMakes},
		{id: installing, names: []string{"mandb"}, want: watchNone}, {userInstalling, []string{"mandb"}, watchSees, first},
		// The first user: a compilation is not watched, and what shows owners is.
		{user, []string{"cc1"}, watchNone, first}, {user, []string{"configure", "sh"}, watchNone, first},
		{user, []string{"sh"}, watchNone, first}, {user, []string{"python3"}, watchSees, first}, {user, []string{"unknown"}, watchSees, first},
		{user, []string{"git"}, watchSees, first}, {root, []string{"sh"}, watchSees, first}, {installing, []string{"cc1"}, watchSees, first},
	} {
		if got := c.id.watch(c.names, &c.maker); got != c.want {
			t.Errorf("watch(%q, installing %v, uid %d) = %v", c.names, c.id.installing, c.id.uid.real, got)
		}
	}
}

func TestInterpreter(t *testing.T) {
	for head, want := range map[string]string{
		"#!/bin/sh -e\nfoo": "sh", "#! /usr/bin/env python3\n": "python3", "#!/usr/bin/env -S perl -w\n": "perl",
		"\x7fELF": "", "#!\n": "", "#!/usr/bin/env\n": "env",
	} {
		got := ""
		if names := interpreter([]byte(head)); len(names) > 0 {
			got = names[0]
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", head, got, want)
		}
	}
}
