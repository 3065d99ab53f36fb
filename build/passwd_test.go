package build

import (
	"slices"
	"strings"
	"testing"
)

const (
	testPasswd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n77:x:4242:4343::/:/bin/sh\nbroken line\n"
	testGroup  = "root:x:0:\nstaff:x:50:alice,bob\nadm:x:4:alice\n88:x:5252:\n"
)

func TestLookupUser(t *testing.T) {
	dir := t.TempDir()
	mktree(t, dir, "f 644 etc/passwd "+testPasswd, "f 644 etc/group "+testGroup)
	root := openRoot(t, dir)
	for _, tt := range []struct {
		arg      string
		uid, gid uint32
		groups   []uint32
		home     string
		err      string
	}{
		{arg: "", groups: []uint32{0}, home: "/root"},
		{arg: "root", groups: []uint32{0}, home: "/root"},
		{arg: "alice", uid: 1000, gid: 1001, groups: []uint32{4, 50, 1001}, home: "/home/alice"},
		{arg: "1000", uid: 1000, gid: 1001, groups: []uint32{4, 50, 1001}, home: "/home/alice"},
		{arg: "alice:adm", uid: 1000, gid: 4, groups: []uint32{4}, home: "/home/alice"},
		{arg: "5:6", uid: 5, gid: 6, groups: []uint32{6}, home: "/"},
		{arg: "5", uid: 5, groups: []uint32{0}, home: "/"},
		{arg: "77:88", uid: 77, gid: 88, groups: []uint32{88}, home: "/"}, // numbers, though names look like them
		{arg: "nobody", err: `user "nobody" is not in`},
		{arg: "alice:none", err: `group "none" is not in`},
	} {
		a, err := lookupUser(root, tt.arg)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %q", tt.arg, err, tt.err)
			}
			continue
		}
		if err != nil || a.uid != tt.uid || a.gid != tt.gid || !slices.Equal(a.groups, tt.groups) || a.home != tt.home {
			t.Errorf("%q: %+v, %v; want %+v", tt.arg, a, err, tt)
		}
	}
}

func TestLookupOwner(t *testing.T) {
	dir := t.TempDir()
	mktree(t, dir, "f 644 etc/passwd "+testPasswd, "f 644 etc/group "+testGroup)
	root := openRoot(t, dir)
	for arg, want := range map[string][2]uint32{
		"alice": {1000, 1001}, "1000": {1000, 1000}, "alice:staff": {1000, 50}, ":staff": {0, 50}, "77": {77, 77}, "7:8": {7, 8},
	} {
		rec, err := lookupOwner(root, arg)
		if err != nil || rec.UID != want[0] || rec.GID != want[1] {
			t.Errorf("%q: %+v, %v; want %v", arg, rec, err, want)
		}
	}
}
