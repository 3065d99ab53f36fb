package fakeroot

import "golang.org/x/sys/unix"

// idArg widens an id argument: -1 of a 16-bit call is -1.
func (w *worker) idArg(i int) uint32 {
	v := uint32(w.req.args[i])
	if w.short {
		if v &= 0xffff; v == 0xffff {
			return noID
		}
	}
	return v
}

// idValue is an id as a result: 16-bit calls answer 65534 for one too large.
func (w *worker) idValue(v uint32) uint32 {
	if w.short && v > 0xffff {
		return 65534
	}
	return v
}

// setUID and setGID make handlers of the calls that set ids.
func setUID(f func(w *worker, x ids, privileged bool) (ids, unix.Errno)) handler {
	return func(w *worker) reply {
		id := w.identity()
		n, errno := f(w, id.uid, id.has(unix.CAP_SETUID))
		if errno != 0 {
			return failure(errno)
		}
		return failure(w.become(id.withUID(n)))
	}
}

func setGID(f func(w *worker, x ids, privileged bool) (ids, unix.Errno)) handler {
	return func(w *worker) reply {
		id := w.identity()
		n, errno := f(w, id.gid, id.has(unix.CAP_SETGID))
		if errno != 0 {
			return failure(errno)
		}
		id.gid = n
		return failure(w.become(id))
	}
}

func setOne(w *worker, x ids, privileged bool) (ids, unix.Errno) {
	return x.set(w.idArg(0), privileged)
}

func setTwo(w *worker, x ids, privileged bool) (ids, unix.Errno) {
	return x.setre(w.idArg(0), w.idArg(1), privileged)
}

func setThree(w *worker, x ids, privileged bool) (ids, unix.Errno) {
	return x.setres(w.idArg(0), w.idArg(1), w.idArg(2), privileged)
}

// setfsuid and setfsgid answer the id before.
func setfsuid(w *worker) reply {
	id := w.identity()
	was := id.uid
	if n := was.setfs(w.idArg(0), id.has(unix.CAP_SETUID)); n != was {
		w.become(id.withFSUID(n))
	}
	return value(int64(w.idValue(was.fs)))
}

func setfsgid(w *worker) reply {
	id := w.identity()
	was := id.gid
	if n := was.setfs(w.idArg(0), id.has(unix.CAP_SETGID)); n != was {
		id.gid = n
		w.become(id)
	}
	return value(int64(w.idValue(was.fs)))
}

// getID makes a handler of a call that answers one id.
func getID(f func(id *identity) uint32) handler {
	return func(w *worker) reply {
		id := w.identity()
		if id.nested {
			return leave
		}
		return value(int64(w.idValue(f(&id))))
	}
}

// getThree makes a handler of getresuid(2) or getresgid(2).
func getThree(f func(id *identity) ids) handler {
	return func(w *worker) reply {
		id := w.identity()
		if id.nested {
			return leave
		}
		x := f(&id)
		for i, v := range []uint32{x.real, x.effective, x.saved} {
			if errno := w.writeID(w.req.args[i], v); errno != 0 {
				return failure(errno)
			}
		}
		return done
	}
}

func (w *worker) writeID(addr uint64, v uint32) unix.Errno {
	if !w.short {
		return w.writeWords(addr, v)
	}
	var b [2]byte
	w.order().PutUint16(b[:], uint16(w.idValue(v)))
	return w.writeMemory(addr, b[:])
}

// maxGroups is NGROUPS_MAX (limits.h).
const maxGroups = 65536

func setgroups(w *worker) reply {
	id := w.identity()
	n := uint32(w.req.args[0])
	switch {
	case !id.has(unix.CAP_SETGID):
		return failure(unix.EPERM)
	case n > maxGroups:
		return failure(unix.EINVAL)
	}
	groups, errno := w.readIDs(int(n), w.req.args[1])
	if errno != 0 {
		return failure(errno)
	}
	id.groups = packGroups(groups)
	return failure(w.become(id))
}

// readIDs reads an array of ids.
func (w *worker) readIDs(n int, addr uint64) ([]uint32, unix.Errno) {
	if !w.short {
		return w.readWords(n, addr)
	}
	b := make([]byte, 2*n)
	if w.readMemory(b, addr) != len(b) {
		return nil, unix.EFAULT
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(w.order().Uint16(b[2*i:]))
	}
	return out, 0
}

func getgroups(w *worker) reply {
	id := w.identity()
	if id.nested {
		return leave
	}
	groups := unpackGroups(id.groups)
	size := int32(w.req.args[0])
	switch {
	case size < 0 || size != 0 && int(size) < len(groups):
		return failure(unix.EINVAL)
	case size == 0 || len(groups) == 0:
		return value(int64(len(groups)))
	}
	if w.short {
		for i, g := range groups {
			if errno := w.writeID(w.req.args[1]+2*uint64(i), g); errno != 0 {
				return failure(errno)
			}
		}
		return value(int64(len(groups)))
	}
	if errno := w.writeWords(w.req.args[1], groups...); errno != 0 {
		return failure(errno)
	}
	return value(int64(len(groups)))
}

// capVersions maps the versions of struct __user_cap_header_struct to the
// number of 32-bit words per set (capget(2)).
func capWords(version uint32) int {
	switch version {
	case unix.LINUX_CAPABILITY_VERSION_1:
		return 1
	case unix.LINUX_CAPABILITY_VERSION_2, unix.LINUX_CAPABILITY_VERSION_3:
		return 2
	}
	return 0
}

// capget answers for the process itself. Some libraries name it by its own
// number, which is another one here, so every number counts as that.
func capget(w *worker) reply {
	id := w.identity()
	head, errno := w.readWords(2, w.req.args[0])
	if errno != 0 || id.nested || capWords(head[0]) == 0 || w.req.args[1] == 0 {
		return leave // the kernel knows the errors
	}
	if id.caps == (capSets{effective: allCaps, permitted: allCaps}) {
		return leave
	}
	var words []uint32
	for i := range capWords(head[0]) {
		for _, set := range []uint64{id.caps.effective, id.caps.permitted, id.caps.inheritable} {
			words = append(words, uint32(set>>(32*i)))
		}
	}
	return failure(w.writeWords(w.req.args[1], words...))
}

func capset(w *worker) reply {
	id := w.identity()
	head, errno := w.readWords(2, w.req.args[0])
	if errno != 0 || id.nested || capWords(head[0]) == 0 {
		return leave
	}
	words, errno := w.readWords(3*capWords(head[0]), w.req.args[1])
	if errno != 0 {
		return failure(errno)
	}
	var sets [3]uint64
	for i, v := range words {
		sets[i%3] |= uint64(v) << (32 * (i / 3))
	}
	n := capSets{effective: sets[0] & allCaps, permitted: sets[1] & allCaps, inheritable: sets[2] & allCaps}
	id, errno = id.withCaps(n)
	if errno != 0 {
		return failure(errno)
	}
	return failure(w.become(id))
}

// keepcaps follows prctl(PR_SET_KEEPCAPS); the kernel does it too.
func keepcaps(w *worker) reply {
	id := w.identity()
	if keep := w.req.args[1] == 1; keep != id.keepCaps {
		id.keepCaps = keep
		w.become(id)
	}
	return leave
}
