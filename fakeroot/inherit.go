package fakeroot

import (
	"strings"

	"golang.org/x/sys/unix"
)

// A file made in a setgid directory has the directory's group, and a directory
// its setgid bit. The kernel sees to the bit, and would to the group if the
// directory had it on disk. Files that watched programs make get their record
// at once (create.go); for others it is found out when they are looked at, or in
// the end (collect.go).

// recordOf returns the record of a file at a location, inherited if need be.
func (w *worker) recordOf(l *location, f file) (Record, bool) {
	rec, ok := w.s.records.lookup(f)
	if ok || f.birth < w.s.started-birthSlack || !mayInherit(f) || !w.s.records.inherits() {
		return rec, ok
	}
	gid, ok := w.inherited(l, f)
	if !ok {
		return rec, false
	}
	w.s.records.update(f, func(r *Record) { r.GID = gid })
	return Record{GID: gid}, true
}

// mayInherit is false for a directory without setgid bit: the kernel would have
// given it one. Of a directory made in the same tick of the clock as its
// parent's record, it is the only sign that it was there before.
func mayInherit(f file) bool { return !f.isDir() || f.mode&unix.S_ISGID != 0 }

// inherited finds the group that a file without a record has from its
// directory; ok is false if it cannot be found out.
func (w *worker) inherited(l *location, f file) (gid uint32, ok bool) {
	fd, errno := w.open(l, 0)
	if errno != 0 {
		return 0, false
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(handlePath(fd), buf)
	name := string(buf[:max(n, 0)])
	if err != nil || !strings.HasPrefix(name, "/") || name == "/" {
		return 0, false
	}
	dir := []byte(name[:strings.LastIndexByte(name, '/')+1] + "\x00")
	var st unix.Statx_t
	if statxPath(unix.AT_FDCWD, dir, 0, statxWanted, &st) != 0 || !w.alive() {
		return 0, false
	}
	gid, ok = w.s.records.group(fileOf(&st))
	if !ok || !w.isNew(name[1:], f) {
		return 0, true
	}
	return gid, true
}

// isNew reports whether a file was made since the start. The time of birth says
// so already, but is also that of a copy of a lower file.
func (w *worker) isNew(name string, f file) bool {
	if w.s.options.Upper == nil {
		return true
	}
	var st unix.Stat_t
	err := unix.Fstatat(int(w.s.options.Upper.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Ino == f.ino
}
