package fakeroot

import (
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attribute reads the name argument of an xattr call.
func (w *worker) attribute() (string, unix.Errno) {
	var buf [maxXattrName + 1]byte
	name, errno := w.readString(buf[:], w.req.args[1], unix.ERANGE)
	return string(name), errno
}

// ours reports whether an attribute may be in a record.
func ours(name string) bool { return recordable(name) || isACL(name) }

// setxattr records what the namespace's root may not set; the rest is the
// kernel's.
func (w *worker) setxattr(t target) reply {
	name, errno := w.attribute()
	if errno != 0 || !ours(name) {
		return leave
	}
	size := w.req.args[3]
	if size > maxXattr {
		return failure(unix.E2BIG)
	}
	val := make([]byte, size)
	if w.readMemory(val, w.req.args[2]) != len(val) {
		return failure(unix.EFAULT)
	}
	if isACL(name) && !aclValid(val) {
		return leave // the kernel says why
	}
	id := w.identity()
	fd, f, rec, r := w.openFor(t)
	if r != nil {
		return *r
	}
	defer unix.Close(fd)
	if isACL(name) && !aclForeign(val) {
		if _, ok := rec.Xattrs[name]; ok {
			w.s.records.update(f, func(r *Record) { r.removeXattr(name) })
		}
		return leave
	}
	_, exists := rec.Xattrs[name]
	switch flags := w.req.args[4]; {
	case recordable(name) && !id.has(unix.CAP_SYS_ADMIN):
		return failure(unix.EPERM)
	case isACL(name) && rec.UID != id.uid.fs && !id.has(unix.CAP_FOWNER):
		return failure(unix.EPERM)
	case isACL(name) && f.mode&unix.S_IFMT == unix.S_IFLNK:
		return failure(unix.EOPNOTSUPP)
	case flags&unix.XATTR_CREATE != 0 && exists:
		return failure(unix.EEXIST)
	case flags&unix.XATTR_REPLACE != 0 && !exists:
		return failure(unix.ENODATA)
	}
	return w.putXattr(fd, f, name, val)
}

// putXattr records an attribute. The change of mode brings what the kernel
// would do beside: an access list has the permission bits in it, and a lower
// file is copied up.
func (w *worker) putXattr(fd int, f file, name string, val []byte) reply {
	mode := f.mode & 0o7777
	if name == aclAccess {
		mode = mode&^0o777 | aclMode(val)
	}
	if f.mode&unix.S_IFMT != unix.S_IFLNK {
		if errno := chmodHandle(fd, mode); errno != 0 && errno != unix.EPERM {
			return failure(errno)
		}
	}
	f, errno := w.examine(fd)
	if errno != 0 {
		return failure(errno)
	}
	if isACL(name) {
		removeNative(fd, name)
	}
	w.s.records.update(f, func(r *Record) { r.setXattr(name, val) })
	return done
}

// openFor opens the file of an xattr call; r is the answer if it cannot.
func (w *worker) openFor(t target) (fd int, f file, rec Record, r *reply) {
	l, errno := w.locate(t)
	if errno != 0 {
		return -1, f, rec, &leave
	}
	if fd, errno = w.open(&l, 0); errno != 0 {
		return -1, f, rec, &leave
	}
	if f, errno = w.examine(fd); errno != 0 {
		unix.Close(fd)
		return -1, f, rec, &leave
	}
	rec, _ = w.recordOf(&l, f)
	return fd, f, rec, nil
}

// removexattr removes a recorded attribute.
func (w *worker) removexattr(t target) reply {
	name, errno := w.attribute()
	if errno != 0 || !ours(name) {
		return leave
	}
	fd, f, rec, r := w.openFor(t)
	if r != nil {
		return *r
	}
	defer unix.Close(fd)
	if _, ok := rec.Xattrs[name]; ok {
		w.s.records.update(f, func(r *Record) { r.removeXattr(name) })
		return done
	}
	if recordable(name) {
		return failure(unix.ENODATA)
	}
	return leave
}

// getxattr answers recorded attributes.
func (w *worker) getxattr(t target) reply {
	name, errno := w.attribute()
	if errno != 0 || !ours(name) {
		return leave
	}
	l, errno := w.locate(t)
	if errno != 0 || w.stat(&l, 0, statxWanted) != 0 {
		return leave
	}
	rec, _ := w.s.records.lookup(fileOf(&w.st))
	val, ok := aclsInForce(rec.Xattrs, uint32(w.st.Mode))[name]
	if !ok {
		return leave
	}
	return w.putBytes(w.req.args[2], w.req.args[3], val)
}

// putBytes answers a size, or the bytes if there is room for them.
func (w *worker) putBytes(addr, room uint64, val []byte) reply {
	switch {
	case room == 0 || len(val) == 0:
	case room < uint64(len(val)):
		return failure(unix.ERANGE)
	default:
		if errno := w.writeMemory(addr, val); errno != 0 {
			return failure(errno)
		}
	}
	return value(int64(len(val)))
}

// listxattr adds the recorded attributes to those on disk.
func (w *worker) listxattr(t target) reply {
	l, errno := w.locate(t)
	if errno != 0 || w.stat(&l, 0, statxWanted) != 0 {
		return leave
	}
	rec, ok := w.s.records.lookup(fileOf(&w.st))
	if !ok || len(rec.Xattrs) == 0 {
		return leave
	}
	fd, _, _, r := w.openFor(t)
	if r != nil {
		return *r
	}
	defer unix.Close(fd)
	list := make([]byte, maxXattr)
	n, err := unix.Listxattr(handlePath(fd), list)
	if err != nil {
		n = 0
	}
	list = list[:n]
	names := make([]string, 0, len(rec.Xattrs))
	for name := range rec.Xattrs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		list = append(append(list, name...), 0)
	}
	return w.putBytes(w.req.args[1], w.req.args[2], list)
}

// handlePath names an O_PATH handle of the supervisor's for the calls that
// take no handle. The working directory is /proc.
func handlePath(fd int) string { return "self/fd/" + strconv.Itoa(fd) }

// chmodHandle is chmod(2) of an O_PATH handle.
func chmodHandle(fd int, mode uint32) unix.Errno {
	if err := unix.Chmod(handlePath(fd), mode); err != nil {
		return err.(unix.Errno)
	}
	return 0
}

// removeNative removes an access list from the disk that a recorded one
// replaces.
func removeNative(fd int, name string) {
	path, _ := unix.BytePtrFromString(handlePath(fd))
	attr, _ := unix.BytePtrFromString(name)
	unix.Syscall(unix.SYS_REMOVEXATTR, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(attr)), 0)
}
