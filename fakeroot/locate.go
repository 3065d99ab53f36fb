package fakeroot

import (
	"bytes"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is what a call names: a path relative to a directory handle, or the
// handle itself. The numbers are the thread's.
type target struct {
	dir      int32
	path     uint64 // address; 0 for the handle itself
	nofollow bool
	empty    bool // an empty path is the handle itself (AT_EMPTY_PATH)
}

// atFlags makes a target of the arguments of an *at call.
func atFlags(dir, path, flags uint64) target {
	return target{
		dir: int32(dir), path: path,
		nofollow: flags&unix.AT_SYMLINK_NOFOLLOW != 0,
		empty:    flags&unix.AT_EMPTY_PATH != 0,
	}
}

func pathTarget(path uint64, nofollow bool) target {
	return target{dir: unix.AT_FDCWD, path: path, nofollow: nofollow}
}

func handleTarget(fd uint64) target { return target{dir: int32(fd)} }

// location is a target in the supervisor's terms. The supervisor has the
// container's root, and /proc as its working directory: base is a magic link
// below it or "" for none, and rest is a path from there.
//
// What a magic link leads to is where the thread itself is, so nothing comes
// into reach that was not in its reach; rest is resolved without further magic
// links when anything is changed, because /proc/self there would be the supervisor.
type location struct {
	base []byte // "PID/cwd", "PID/fd/N", "PID/root"; NUL-terminated
	rest []byte // NUL-terminated; empty (just NUL) for base itself
	// inRoot: rest is to be resolved as if base were the root directory.
	inRoot   bool
	nofollow bool
}

// whole reports whether the location is the handle itself.
func (l *location) whole() bool { return len(l.rest) == 1 }

// locate reads the path of a target from the thread's memory.
func (w *worker) locate(t target) (location, unix.Errno) {
	l := location{nofollow: t.nofollow}
	var path []byte
	if t.path != 0 {
		p, errno := w.readString(w.pathBuf[:], t.path, unix.ENAMETOOLONG)
		if errno != 0 {
			return l, errno
		}
		if len(p) == 0 && !t.empty {
			return l, unix.ENOENT
		}
		path = p
	}
	elsewhere := !w.s.ids.single() && w.identity().elsewhere
	switch {
	case len(path) > 0 && path[0] == '/' && elsewhere:
		l.base, l.inRoot = w.procLink("/root", -1), true
		l.rest = terminate(bytes.TrimLeft(path, "/"))
	case len(path) > 0 && path[0] == '/':
		l.base, l.rest = w.absolute(path)
	case t.dir == unix.AT_FDCWD:
		l.base, l.rest = w.procLink("/cwd", -1), terminate(path)
	case t.dir < 0:
		return l, unix.EBADF
	default:
		l.base, l.rest = w.procLink("/fd/", int(t.dir)), terminate(path)
	}
	if elsewhere && !l.inRoot && l.base != nil && !l.whole() {
		w.rebase(&l)
	}
	return l, 0
}

// rebase makes a relative location one from the root directory of a thread that
// has its own, for the absolute links that it may meet. Where names do not tell
// how to come from the root to the start (another mount namespace), it stays.
func (w *worker) rebase(l *location) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink(string(l.base[:len(l.base)-1]), buf[:])
	start := string(buf[:max(n, 0)])
	if err != nil {
		return
	}
	root := strconv.Itoa(int(w.req.pid)) + "/root"
	if n, err = unix.Readlink(root, buf[:]); err != nil {
		return
	}
	inside, ok := cutComponent([]byte(start), string(bytes.TrimRight(buf[:n], "/")))
	if !ok {
		return
	}
	if len(inside) > 0 {
		inside = append(inside, '/')
	}
	l.base, l.rest, l.inRoot = append([]byte(root), 0), append(inside, l.rest...), true
}

// absolute splits an absolute path, in which /proc/self and its like are the
// thread's, not the supervisor's.
func (w *worker) absolute(path []byte) (base, rest []byte) {
	rel, own := ownProc(path)
	if !own {
		return nil, terminate(path)
	}
	for _, link := range []string{"cwd", "root"} {
		if after, ok := cutComponent(rel, link); ok {
			return w.procLink("/"+link, -1), terminate(after)
		}
	}
	if after, ok := cutComponent(rel, "fd"); ok {
		digits, after, _ := bytes.Cut(after, []byte("/"))
		if n, err := strconv.ParseUint(string(digits), 10, 31); err == nil {
			return w.procLink("/fd/", int(n)), terminate(after)
		}
	}
	return nil, terminate(path)
}

// ownProc cuts the prefixes that mean the thread's own directory in /proc.
func ownProc(path []byte) (rel []byte, ok bool) {
	for _, p := range []string{"/proc/self/", "/proc/thread-self/"} {
		if rel, ok := bytes.CutPrefix(path, []byte(p)); ok {
			return rel, true
		}
	}
	if n, ok := bytes.CutPrefix(path, []byte("/dev/fd/")); ok {
		return append([]byte("fd/"), n...), true
	}
	for i, p := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr"} {
		if string(path) == p {
			return []byte("fd/" + string(rune('0'+i))), true
		}
	}
	return nil, false
}

// cutComponent cuts a first path component.
func cutComponent(path []byte, name string) (rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(path, []byte(name))
	if !ok || len(rest) > 0 && rest[0] != '/' {
		return nil, false
	}
	return bytes.TrimLeft(rest, "/"), true
}

// procLink writes "PID" + what + n into the worker's buffer.
func (w *worker) procLink(what string, n int) []byte {
	b := strconv.AppendUint(w.linkBuf[:0], uint64(w.req.pid), 10)
	b = append(b, what...)
	if n >= 0 {
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, 0)
}

// terminate appends NUL; path has room for it, or is copied.
func terminate(path []byte) []byte { return append(path, 0) }

// joined is the location as one path, for calls that only look.
func (w *worker) joined(l *location) []byte {
	switch {
	case l.base == nil:
		return l.rest
	case l.whole():
		return l.base
	}
	b := append(w.joinBuf[:0], l.base[:len(l.base)-1]...)
	b = append(b, '/')
	return append(b, l.rest...)
}

// stat looks at a location without changing anything.
func (w *worker) stat(l *location, flags, mask uint32) unix.Errno {
	if l.inRoot {
		return w.statInRoot(l, mask)
	}
	if l.nofollow && !l.whole() {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	return statxPath(unix.AT_FDCWD, w.joined(l), flags, mask, &w.st)
}

func (w *worker) statInRoot(l *location, mask uint32) unix.Errno {
	fd, errno := w.open(l, 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(fd)
	return statxPath(fd, emptyPath, unix.AT_EMPTY_PATH, mask, &w.st)
}

// emptyPath names a handle itself; it is never written to.
var emptyPath = []byte{0}

func statxPath(dir int, path []byte, flags, mask uint32, st *unix.Statx_t) unix.Errno {
	st.Mask = 0
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(&path[0])), uintptr(flags),
		uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
	return errno
}

// open returns an O_PATH handle of a location, with additional open flags.
func (w *worker) open(l *location, flags uint64) (int, unix.Errno) {
	if l.nofollow {
		flags |= unix.O_NOFOLLOW
	}
	how := unix.OpenHow{Flags: flags | unix.O_PATH | unix.O_CLOEXEC}
	if l.base == nil {
		how.Resolve = unix.RESOLVE_NO_MAGICLINKS
		return openat2(unix.AT_FDCWD, l.rest, &how)
	}
	start := how
	if start.Flags &^= unix.O_NOFOLLOW; !l.whole() {
		start.Flags |= unix.O_DIRECTORY
	}
	base, errno := openat2(unix.AT_FDCWD, l.base, &start)
	if errno != 0 || l.whole() && !l.inRoot {
		return base, errno
	}
	defer unix.Close(base)
	how.Resolve = unix.RESOLVE_NO_MAGICLINKS
	rest := l.rest
	if l.inRoot {
		how.Resolve |= unix.RESOLVE_IN_ROOT
		if l.whole() {
			rest = []byte{'.', 0}
		}
	}
	return openat2(base, rest, &how)
}

// openat2 is openat2(2), or openat(2) on kernels before 5.6.
func openat2(dir int, path []byte, how *unix.OpenHow) (int, unix.Errno) {
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&path[0])),
		uintptr(unsafe.Pointer(how)), unsafe.Sizeof(*how), 0, 0)
	if errno == unix.ENOSYS && how.Resolve&unix.RESOLVE_IN_ROOT == 0 {
		fd, _, errno = unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])),
			uintptr(how.Flags|unix.O_LARGEFILE), uintptr(how.Mode), 0, 0)
	}
	if errno != 0 {
		return -1, errno
	}
	return int(fd), 0
}

// split separates the last component of a location to be made; ok is false
// for one that cannot be, such as "..".
func (l location) split() (dir location, base []byte, ok bool) {
	path := bytes.TrimRight(l.rest[:len(l.rest)-1], "/")
	i := bytes.LastIndexByte(path, '/')
	name := path[i+1:]
	switch string(name) {
	case "", ".", "..":
		return l, nil, false
	}
	base = append(append(make([]byte, 0, len(name)+1), name...), 0)
	dir = l
	dir.nofollow = false
	switch {
	case i > 0:
		dir.rest = append(append(make([]byte, 0, i+1), path[:i]...), 0)
	case i == 0:
		dir.rest = []byte{'/', 0}
	case l.base == nil:
		return l, nil, false // not reached: without a base paths are absolute
	default:
		dir.rest = emptyPath
	}
	return dir, base, true
}
