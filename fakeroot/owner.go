package fakeroot

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// chown records an owner; the ids are the arguments from first on.
func (w *worker) chown(t target, first int) reply {
	uid, gid := w.idArg(first), w.idArg(first+1)
	l, errno := w.locate(t)
	if errno != 0 {
		return failure(errno)
	}
	id := w.identity()
	if w.chownNative(&l, &id, uid, gid) {
		return leave
	}
	fd, errno := w.open(&l, 0)
	if errno != 0 {
		return w.unreachable(errno)
	}
	defer unix.Close(fd)
	f, errno := w.examine(fd)
	if errno != 0 {
		return failure(errno)
	}
	rec, _ := w.recordOf(&l, f)
	if !id.mayChown(rec, uid, gid) {
		return failure(unix.EPERM)
	}
	// A change to nobody is what the kernel lets us do: it checks that the file
	// may be changed at all, copies it up from a lower layer, takes the setuid
	// bits and capabilities away and sets the time, as with any other.
	switch errno := fchownNobody(fd); errno {
	case 0:
	case unix.EPERM, unix.EOVERFLOW, unix.EINVAL:
		// A file of the host's in a bind mount: remembered while RUN lasts.
	default:
		return failure(errno)
	}
	before := f.mode
	if f, errno = w.examine(fd); errno != 0 {
		return failure(errno)
	}
	w.s.records.update(f, func(r *Record) {
		r.Perm &^= before &^ f.mode & (unix.S_ISUID | unix.S_ISGID)
		if uid != noID {
			r.UID = uid
		}
		if gid != noID {
			r.GID = gid
		}
	})
	return done
}

// chownNative reports whether the kernel can do it itself: root's file stays
// root's and has no record. Most calls of package managers are of this kind.
func (w *worker) chownNative(l *location, id *identity, uid, gid uint32) bool {
	if uid != 0 && uid != noID || gid != 0 && gid != noID || !id.has(unix.CAP_CHOWN) || !w.s.records.maker.IsZero() {
		return false
	}
	if errno := w.stat(l, 0, statxWanted); errno != 0 {
		return false
	}
	if w.st.Uid != 0 || w.st.Gid != 0 {
		return false // a file of the host's: the kernel would refuse
	}
	f := fileOf(&w.st)
	if _, ok := w.s.records.lookup(f); ok {
		return false
	}
	if gid == noID && w.s.records.inherits() {
		return false
	}
	if gid == 0 && w.s.records.inherits() {
		// Said explicitly: it must not inherit a directory's group later.
		if !w.alive() {
			return true
		}
		w.s.records.update(f, func(*Record) {})
	}
	return true
}

// unreachable answers for a file that the supervisor cannot open: if the
// kernel would find it by a magic link, the call is a lie; otherwise it knows
// the error best.
func (w *worker) unreachable(errno unix.Errno) reply {
	if errno == unix.ELOOP || errno == unix.EXDEV {
		return done
	}
	return failure(errno)
}

// examine asks about an open file, and makes sure that it was the thread's.
func (w *worker) examine(fd int) (file, unix.Errno) {
	if errno := statxPath(fd, emptyPath, unix.AT_EMPTY_PATH, statxWanted, &w.st); errno != 0 {
		return file{}, errno
	}
	if !w.alive() {
		return file{}, unix.ESRCH
	}
	return fileOf(&w.st), 0
}

// mayChown is the kernel's rule (chown(2)): who may not give files away may
// still give its own to a group it is in.
func (id *identity) mayChown(r Record, uid, gid uint32) bool {
	if id.has(unix.CAP_CHOWN) {
		return true
	}
	return r.UID == id.uid.fs && (uid == noID || uid == r.UID) &&
		(gid == noID || gid == r.GID || id.inGroup(gid))
}

// fchownNobody is fchownat(2) that changes neither owner nor group.
func fchownNobody(fd int) unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_FCHOWNAT, uintptr(fd), uintptr(unsafe.Pointer(&emptyPath[0])), uintptr(noID), uintptr(noID), unix.AT_EMPTY_PATH, 0)
	return errno
}
