package fakeroot

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// identity is what a process believes to be: its credentials(7), and what the
// supervisor must know of it beside. It is comparable; each distinct value is
// kept once, see identities.
type identity struct {
	uid, gid ids
	groups   string // supplementary groups, four bytes each
	caps     capSets
	keepCaps bool
	// elsewhere: it may have a root directory or mounts of its own.
	elsewhere bool
	// nested: it may be in a user namespace of its own, which the kernel
	// translates ids for.
	nested bool
	// installing: it is a package manager's or runs for one, see policy.go.
	installing bool
}

// ids are the four user or group ids of a process.
type ids struct{ real, effective, saved, fs uint32 }

// capSets are capabilities(7) of a process, as bit sets.
type capSets struct{ effective, permitted, inheritable uint64 }

// allCaps are the capabilities up to CAP_CHECKPOINT_RESTORE (Linux 5.9).
const allCaps = 1<<(unix.CAP_LAST_CAP+1) - 1

// fsCaps are those that setfsuid(2) takes and gives (CAP_FS_SET in the kernel).
const fsCaps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_MKNOD | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH |
	1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_LINUX_IMMUTABLE | 1<<unix.CAP_MAC_OVERRIDE

// noID leaves an id as it is, in calls that set several.
const noID = ^uint32(0)

// newIdentity is that of a program started with c.
func newIdentity(c Credentials) identity {
	id := identity{
		uid:    ids{c.UID, c.UID, c.UID, c.UID},
		gid:    ids{c.GID, c.GID, c.GID, c.GID},
		groups: packGroups(c.Groups),
	}
	if c.UID == 0 {
		id.caps = capSets{effective: allCaps, permitted: allCaps}
	}
	return id
}

func packGroups(groups []uint32) string {
	b := make([]byte, 0, 4*len(groups))
	for _, g := range groups {
		b = binary.LittleEndian.AppendUint32(b, g)
	}
	return string(b)
}

func unpackGroups(s string) []uint32 {
	groups := make([]uint32, len(s)/4)
	for i := range groups {
		groups[i] = binary.LittleEndian.Uint32([]byte(s[4*i : 4*i+4]))
	}
	return groups
}

// has reports whether a capability is effective.
func (id *identity) has(capability int) bool { return id.caps.effective&(1<<capability) != 0 }

// inGroup is the kernel's in_group_p.
func (id *identity) inGroup(gid uint32) bool {
	return id.gid.fs == gid || slices.Contains(unpackGroups(id.groups), gid)
}

// has reports whether v is one of the three ids a process may return to.
func (x ids) has(v uint32) bool { return v == x.real || v == x.effective || v == x.saved }

// set is setuid(2) or setgid(2).
func (x ids) set(v uint32, privileged bool) (ids, unix.Errno) {
	switch {
	case v == noID:
		return x, unix.EINVAL
	case privileged:
		return ids{v, v, v, v}, 0
	case v == x.real || v == x.saved:
		return ids{x.real, v, x.saved, v}, 0
	}
	return x, unix.EPERM
}

// setre is setreuid(2) or setregid(2).
func (x ids) setre(real, effective uint32, privileged bool) (ids, unix.Errno) {
	n := x
	if real != noID {
		if !privileged && real != x.real && real != x.effective {
			return x, unix.EPERM
		}
		n.real = real
	}
	if effective != noID {
		if !privileged && !x.has(effective) {
			return x, unix.EPERM
		}
		n.effective = effective
	}
	if real != noID || effective != noID && effective != x.real {
		n.saved = n.effective
	}
	n.fs = n.effective
	return n, 0
}

// setres is setresuid(2) or setresgid(2).
func (x ids) setres(real, effective, saved uint32, privileged bool) (ids, unix.Errno) {
	n := x
	for _, v := range []struct {
		want uint32
		at   *uint32
	}{{real, &n.real}, {effective, &n.effective}, {saved, &n.saved}} {
		if v.want == noID {
			continue
		}
		if !privileged && !x.has(v.want) {
			return x, unix.EPERM
		}
		*v.at = v.want
	}
	if n == x && (effective == noID || effective == x.fs) {
		return x, 0 // nothing changes, the file-system id neither
	}
	n.fs = n.effective
	return n, 0
}

// setfs is setfsuid(2) or setfsgid(2), which never fail.
func (x ids) setfs(v uint32, privileged bool) ids {
	if v != noID && (privileged || x.has(v) || v == x.fs) {
		x.fs = v
	}
	return x
}

// withUID is the identity after a change of its user ids: capabilities follow
// as in capabilities(7), "Effect of user ID changes on capabilities".
func (id identity) withUID(n ids) identity {
	was := id.uid
	id.uid = n
	hadRoot := was.real == 0 || was.effective == 0 || was.saved == 0
	hasRoot := n.real == 0 || n.effective == 0 || n.saved == 0
	if hadRoot && !hasRoot && !id.keepCaps {
		id.caps.permitted, id.caps.effective = 0, 0
	}
	switch {
	case was.effective == 0 && n.effective != 0:
		id.caps.effective = 0
	case was.effective != 0 && n.effective == 0:
		id.caps.effective = id.caps.permitted
	}
	return id
}

// withFSUID is the identity after setfsuid(2).
func (id identity) withFSUID(n ids) identity {
	was := id.uid
	id.uid = n
	switch {
	case was.fs == 0 && n.fs != 0:
		id.caps.effective &^= fsCaps
	case was.fs != 0 && n.fs == 0:
		id.caps.effective |= id.caps.permitted & fsCaps
	}
	return id
}

// withCaps is the identity after capset(2).
func (id identity) withCaps(n capSets) (identity, unix.Errno) {
	const setpcap = 1 << unix.CAP_SETPCAP
	was := id.caps
	switch {
	case n.permitted&^was.permitted != 0, n.effective&^n.permitted != 0,
		was.effective&setpcap == 0 && n.inheritable&^(was.inheritable|was.permitted) != 0:
		return id, unix.EPERM
	}
	id.caps = n
	return id, 0
}

// program is what execve(2) looks at in a file.
type program struct {
	uid, gid       uint32
	setuid, setgid bool
}

// afterExec is the identity after the execution of a program.
func (id identity) afterExec(p program) identity {
	if p.setuid {
		id.uid.effective = p.uid
	}
	if p.setgid {
		id.gid.effective = p.gid
	}
	id.uid.saved, id.uid.fs = id.uid.effective, id.uid.effective
	id.gid.saved, id.gid.fs = id.gid.effective, id.gid.effective
	id.keepCaps = false
	id.caps.permitted, id.caps.effective = 0, 0
	if id.uid.real == 0 || id.uid.effective == 0 {
		id.caps.permitted = allCaps
	}
	if id.uid.effective == 0 {
		id.caps.effective = allCaps
	}
	return id
}

// makes reports whether new files are r's without further ado.
func (id *identity) makes(r *Record) bool { return id.uid.fs == r.UID && id.gid.fs == r.GID }

// plainly reports whether all the ids are r's.
func (id *identity) plainly(r *Record) bool {
	return id.uid == ids{r.UID, r.UID, r.UID, r.UID} && id.gid == ids{r.GID, r.GID, r.GID, r.GID}
}

// plainRoot reports whether everything is as for the container's first root
// process, so that the kernel's own answers are right.
func (id *identity) plainRoot() bool {
	return id.uid == ids{} && id.gid == ids{}
}
