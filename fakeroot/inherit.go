package fakeroot

import (
	"strings"

	"golang.org/x/sys/unix"
)

// What a file is that nobody recorded: root's, if it comes from a lower layer.
// A new one is the first user's, since whoever is somebody else is watched and
// has what it makes recorded at once (create.go). One made in a setgid directory has
// the directory's group, and a directory its setgid bit. The kernel sees to the bit,
// and would to the group if the directory had it on disk. All this is found out
// when files are looked at, or in the end (collect.go).

// recordOf returns the record of a file at a location, found out if need be.
func (w *worker) recordOf(l *location, f file) (Record, bool) {
	r := w.s.records
	rec, ok := r.lookup(f)
	if ok || f.birth < r.started-birthSlack || !r.derives() {
		return rec, ok
	}
	rec, ok = w.derived(l, f)
	if !ok {
		return Record{}, false
	}
	r.found(f, rec)
	return rec, true
}

// mayInherit is false for a directory without setgid bit: the kernel would have
// given it one. Of a directory made in the same tick of the clock as its
// parent's record, it is the only sign that it was there before.
func mayInherit(f file) bool { return !f.isDir() || f.mode&unix.S_ISGID != 0 }

// derived finds the owner of a file without a record; ok is false if it cannot
// be found out.
func (w *worker) derived(l *location, f file) (rec Record, ok bool) {
	fd, errno := w.open(l, 0)
	if errno != 0 {
		return rec, false
	}
	defer unix.Close(fd)
	name, ok := nameOf(fd)
	if !ok || name == "/" {
		return rec, false
	}
	if !w.isNew(name, f) {
		return rec, w.alive()
	}
	rec = w.s.records.maker
	dir := name[:max(strings.LastIndexByte(name, '/'), 1)]
	var st unix.Statx_t
	if statxPath(unix.AT_FDCWD, []byte(dir+"\x00"), 0, statxWanted, &st) != 0 || !w.alive() {
		return rec, false
	}
	if gid, ok := w.gives(dir, fileOf(&st)); ok && mayInherit(f) {
		rec.GID = gid
	}
	return rec, true
}

// nameOf is the path of an open file in the container, if it has one.
func nameOf(fd int) (string, bool) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(handlePath(fd), buf)
	name := string(buf[:max(n, 0)])
	return name, err == nil && strings.HasPrefix(name, "/")
}

// gives returns the group that a new file in a directory gets from it.
func (w *worker) gives(name string, dir file) (gid uint32, ok bool) {
	if dir.mode&unix.S_ISGID == 0 {
		return 0, false
	}
	r := w.s.records
	if rec, ok := r.lookup(dir); ok {
		return rec.GID, true
	}
	if !r.maker.IsZero() && dir.birth >= r.started-birthSlack && w.isNew(name, dir) {
		return r.maker.GID, true
	}
	return 0, true // group root
}

// isNew reports whether a file was made since the start. The time of birth says
// so already, but is also that of a copy of a lower file.
func (w *worker) isNew(name string, f file) bool {
	if w.s.options.Upper == nil {
		return true
	}
	var st unix.Stat_t
	err := unix.Fstatat(int(w.s.options.Upper.Fd()), name[1:], &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return w.mounted(f)
	}
	return st.Ino == f.ino
}

// mounted reports whether a file is in another file system than the root, where
// nothing is copied up.
func (w *worker) mounted(f file) bool {
	var st unix.Statx_t
	return statxPath(unix.AT_FDCWD, rootPath, 0, statxWanted, &st) == 0 && fileOf(&st).mount != f.mount
}

// rootPath is never written to.
var rootPath = []byte{'/', 0}
