package fakeroot

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// making is a file about to be made by the supervisor for a thread.
type making struct {
	dir  int    // O_PATH handle of the directory
	base []byte // name in it, NUL-terminated
	own  Record // owner of the new file
}

// makes decides whether the supervisor must make a file: if its owner would
// not be the first user. Otherwise, and for every error, the kernel does it.
// always has it made nevertheless.
func (w *worker) makes(t target, always bool) (m making, ok bool) {
	id := w.identity()
	maker := &w.s.records.maker
	foreign := always || !id.makes(maker)
	if !foreign && !w.s.records.inherits() {
		return m, false
	}
	l, errno := w.locate(t)
	if errno != 0 || l.whole() {
		return m, false
	}
	parent, base, ok := l.split()
	if !ok {
		return m, false
	}
	m.own = Record{UID: id.uid.fs, GID: id.gid.fs}
	m.base = base
	if m.dir, errno = w.open(&parent, unix.O_DIRECTORY); errno != 0 {
		return m, false
	}
	f, errno := w.examine(m.dir)
	if errno == 0 {
		if name, ok := nameOf(m.dir); ok {
			if gid, ok := w.gives(name, f); ok {
				m.own.GID = gid
			}
		}
		if foreign || m.own.GID != maker.GID {
			return m, true
		}
	}
	unix.Close(m.dir)
	return m, false
}

// finish records the owner of what was made.
func (w *worker) finish(m *making, errno unix.Errno, change func(*Record)) reply {
	if errno != 0 {
		return failure(errno)
	}
	if errno := statxPath(m.dir, m.base, unix.AT_SYMLINK_NOFOLLOW, statxWanted, &w.st); errno != 0 {
		return done // removed again already
	}
	w.s.records.update(fileOf(&w.st), func(r *Record) {
		*r = m.own
		if change != nil {
			change(r)
		}
	})
	return done
}

// withUmask runs f under the thread's umask: the kernel applies it or, in a
// directory with a default access list, does not.
func (w *worker) withUmask(f func() unix.Errno) unix.Errno {
	unix.Umask(w.umask())
	defer unix.Umask(0)
	return f()
}

// umask reads a thread's umask (proc_pid_status(5), Linux 4.7).
func (w *worker) umask() int {
	mask, err := strconv.ParseUint(statusField(w.req.pid, "Umask"), 8, 12)
	if err != nil {
		return 0o022
	}
	return int(mask)
}

// mknod makes files that have no content; a device becomes an empty file with
// a record.
func (w *worker) mknod(t target, mode uint32, dev uint64) reply {
	kind := mode & unix.S_IFMT
	device := kind == unix.S_IFCHR || kind == unix.S_IFBLK
	id := w.identity()
	if device && !id.has(unix.CAP_MKNOD) {
		return failure(unix.EPERM)
	}
	m, ok := w.makes(t, device)
	if !ok {
		if device {
			return w.whyNot(t)
		}
		return leave
	}
	defer unix.Close(m.dir)
	if device {
		mode = unix.S_IFREG | mode&0o7777
	}
	errno := w.withUmask(func() unix.Errno {
		_, _, errno := unix.Syscall6(unix.SYS_MKNODAT, uintptr(m.dir), uintptr(unsafe.Pointer(&m.base[0])), uintptr(mode), 0, 0, 0)
		return errno
	})
	return w.finish(&m, errno, func(r *Record) {
		if device {
			r.Type, r.Rdev = kind, dev&0xffff_ffff
		}
	})
}

// whyNot finds the error for a file that cannot be made.
func (w *worker) whyNot(t target) reply {
	l, errno := w.locate(t)
	if errno != 0 {
		return failure(errno)
	}
	parent, _, ok := l.split()
	if !ok {
		return failure(unix.EEXIST)
	}
	dir, errno := w.open(&parent, unix.O_DIRECTORY)
	if errno != 0 {
		return failure(errno)
	}
	unix.Close(dir)
	return failure(unix.ENOENT)
}

func (w *worker) mkdir(t target, mode uint64) reply {
	m, ok := w.makes(t, false)
	if !ok {
		return leave
	}
	defer unix.Close(m.dir)
	errno := w.withUmask(func() unix.Errno {
		_, _, errno := unix.Syscall(unix.SYS_MKDIRAT, uintptr(m.dir), uintptr(unsafe.Pointer(&m.base[0])), uintptr(mode))
		return errno
	})
	return w.finish(&m, errno, nil)
}

func (w *worker) symlink(to uint64, t target) reply {
	m, ok := w.makes(t, false)
	if !ok {
		return leave
	}
	defer unix.Close(m.dir)
	// m.base is a copy: the path buffer is free again.
	text, errno := w.readString(w.pathBuf[:], to, unix.ENAMETOOLONG)
	if errno != 0 {
		return failure(errno)
	}
	if !w.alive() {
		return failure(unix.ESRCH)
	}
	text = terminate(text)
	_, _, errno = unix.Syscall(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(&text[0])), uintptr(m.dir), uintptr(unsafe.Pointer(&m.base[0])))
	return w.finish(&m, errno, nil)
}

// create is open(2) with O_CREAT. A file that exists is the kernel's business;
// a new one is opened here and handed over, since O_EXCL would fail on one
// that was only made here.
func (w *worker) create(t target, flags, mode uint64) reply {
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		return w.createUnnamed(t, flags, mode)
	}
	if flags&unix.O_PATH != 0 || flags&unix.O_CREAT == 0 {
		return leave
	}
	m, ok := w.makes(t, false)
	if !ok {
		return leave
	}
	defer unix.Close(m.dir)
	how := unix.OpenHow{Flags: flags&^unix.O_TRUNC | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_LARGEFILE}
	how.Mode = mode & 0o7777
	return w.handOver(&m, how, flags)
}

// createUnnamed is open(2) with O_TMPFILE: the path is the directory.
func (w *worker) createUnnamed(t target, flags, mode uint64) reply {
	id := w.identity()
	if id.makes(&w.s.records.maker) {
		return leave
	}
	l, errno := w.locate(t)
	if errno != 0 {
		return failure(errno)
	}
	dir, errno := w.open(&l, unix.O_DIRECTORY)
	if errno != 0 {
		return leave
	}
	defer unix.Close(dir)
	if !w.alive() {
		return leave
	}
	m := making{dir: dir, base: []byte{'.', 0}, own: Record{UID: id.uid.fs, GID: id.gid.fs}}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_LARGEFILE, Mode: mode & 0o7777}
	return w.handOver(&m, how, flags)
}

// handOver opens a new file, records its owner and gives it to the thread.
func (w *worker) handOver(m *making, how unix.OpenHow, flags uint64) reply {
	fd := -1
	errno := w.withUmask(func() unix.Errno {
		n, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(m.dir), uintptr(unsafe.Pointer(&m.base[0])), uintptr(how.Flags), uintptr(how.Mode), 0, 0)
		fd = int(n)
		return errno
	})
	if errno != 0 {
		return leave // EEXIST: an old file; the kernel knows the other errors
	}
	defer unix.Close(fd)
	if errno := statxPath(fd, emptyPath, unix.AT_EMPTY_PATH, statxWanted, &w.st); errno == 0 {
		w.s.records.update(fileOf(&w.st), func(r *Record) { *r = m.own })
	}
	r := w.addFd(fd, flags&unix.O_CLOEXEC != 0)
	if r.errno == unix.EINVAL || r.errno == unix.ENOTTY {
		// Linux before 5.9 cannot give handles: the thread opens the new file.
		if flags&(unix.O_EXCL|unix.O_TMPFILE) == 0 {
			return leave
		}
		unix.Unlinkat(m.dir, string(m.base[:len(m.base)-1]), 0)
		return leave
	}
	return r
}

// openHow is openat2(2). Restricted resolutions are left to the kernel.
func openHow(w *worker) reply {
	var b [24]byte
	if w.req.args[3] < uint64(len(b)) || w.readMemory(b[:], w.req.args[2]) != len(b) {
		return leave
	}
	flags, mode, resolve := w.order().Uint64(b[0:]), w.order().Uint64(b[8:]), w.order().Uint64(b[16:])
	if resolve != 0 {
		return leave
	}
	return w.create(atFlags(w.req.args[0], w.req.args[1], 0), flags, mode)
}
