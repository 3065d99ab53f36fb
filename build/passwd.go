package build

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virga/fakeroot"
	"virga/internal/inroot"
)

// maxPasswd bounds /etc/passwd and /etc/group of an image.
const maxPasswd = 16 << 20

// account is a user as an image's files describe it.
type account struct {
	uid, gid uint32
	groups   []uint32 // supplementary, with the gid among them, ascending
	home     string
}

// lookupUser resolves USER's NAME[:GROUP], each a name or a number, with the
// /etc/passwd and /etc/group of the image. A number is always an id, also
// where there is a name like it, and need not be listed.
func lookupUser(root *inroot.Root, arg string) (account, error) {
	name, group, hasGroup := strings.Cut(arg, ":")
	a := account{home: "/"}
	entry, err := passwdEntry(root, "/etc/passwd", name, 7)
	if err != nil {
		return a, err
	}
	switch n, nerr := strconv.ParseUint(name, 10, 32); {
	case entry != nil:
		if a.uid, a.gid, err = ids(entry[2], entry[3]); err != nil {
			return a, fmt.Errorf("user %q in /etc/passwd: %w", name, err)
		}
		a.home, name = entry[5], entry[0]
	case nerr == nil:
		a.uid = uint32(n)
		if n == 0 {
			a.home = "/root"
		}
	case name == "" || name == "root":
		a.home = "/root"
	default:
		return a, fmt.Errorf("user %q is not in the image's /etc/passwd", name)
	}
	if hasGroup {
		a.gid, err = lookupGroup(root, group)
	} else {
		a.groups, err = memberships(root, name)
	}
	a.groups = append(a.groups, a.gid)
	slices.Sort(a.groups)
	a.groups = slices.Compact(a.groups)
	return a, err
}

func lookupGroup(root *inroot.Root, name string) (uint32, error) {
	entry, err := passwdEntry(root, "/etc/group", name, 4)
	if err != nil {
		return 0, err
	}
	if entry != nil {
		gid, _, err := ids(entry[2], "0")
		return gid, err
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	if name == "root" || name == "" {
		return 0, nil
	}
	return 0, fmt.Errorf("group %q is not in the image's /etc/group", name)
}

// lookupOwner resolves --chown's USER[:GROUP]. A user without group gets its
// login group, as a number the group of the same number.
func lookupOwner(root *inroot.Root, arg string) (*fakeroot.Record, error) {
	user, group, hasGroup := strings.Cut(arg, ":")
	a, err := lookupUser(root, user)
	if err != nil {
		return nil, err
	}
	if hasGroup {
		if a.gid, err = lookupGroup(root, group); err != nil {
			return nil, err
		}
	} else if _, err := strconv.ParseUint(user, 10, 32); err == nil {
		a.gid = a.uid
	}
	return &fakeroot.Record{UID: a.uid, GID: a.gid}, nil
}

func ids(uid, gid string) (uint32, uint32, error) {
	u, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("bad id %q", uid)
	}
	g, err := strconv.ParseUint(gid, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("bad id %q", gid)
	}
	return uint32(u), uint32(g), nil
}

// passwdEntry finds the first line of name, or if name is a number of that id,
// in a passwd(5) or group(5) file with n fields. It returns nil if there is
// none.
func passwdEntry(root *inroot.Root, file, name string, n int) ([]string, error) {
	field := 0
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		field = 2
	}
	var entry []string
	err := passwdLines(root, file, n, func(f []string) bool {
		if f[field] == name {
			entry = f
		}
		return entry == nil
	})
	return entry, err
}

// memberships lists the groups that name is a member of.
func memberships(root *inroot.Root, name string) ([]uint32, error) {
	var out []uint32
	err := passwdLines(root, "/etc/group", 4, func(f []string) bool {
		for m := range strings.SplitSeq(f[3], ",") {
			if m != name || name == "" {
				continue
			}
			if gid, _, err := ids(f[2], "0"); err == nil {
				out = append(out, gid)
			}
		}
		return true
	})
	return out, err
}

func passwdLines(root *inroot.Root, file string, n int, each func([]string) bool) error {
	b, err := root.ReadFile(file, maxPasswd)
	if inroot.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up a user or group in the image: %w", err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.Split(line, ":"); len(f) == n && !each(f) {
			break
		}
	}
	return nil
}
