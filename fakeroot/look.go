package fakeroot

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// statxFlags are the flags of fstatat(2) and statx(2) that say how to look and
// not at what.
const statxFlags = unix.AT_NO_AUTOMOUNT | unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC

// look answers stat(2) and its like for files with a record.
func (w *worker) look(t target, out uint64) reply {
	if !w.seen(t, unix.AT_NO_AUTOMOUNT, statxWanted) {
		return leave
	}
	var b [144]byte
	layout := &w.arch().stat
	layout.encode(w.order(), b[:], &w.st)
	return failure(w.writeMemory(out, b[:layout.size]))
}

// lookx answers statx(2).
func (w *worker) lookx(t target, mask uint32, out uint64) reply {
	if !w.seen(t, uint32(w.req.args[2])&statxFlags, mask|statxWanted) {
		return leave
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&w.st)), unsafe.Sizeof(w.st))
	return failure(w.writeMemory(out, b))
}

// seen looks at a file; it reports whether it has a record, and then has
// applied it to w.st. Errors are left to the kernel.
func (w *worker) seen(t target, flags, mask uint32) bool {
	l, errno := w.locate(t)
	if errno != 0 || w.stat(&l, flags, mask) != 0 {
		return false
	}
	st := w.st
	rec, ok := w.recordOf(&l, fileOf(&st))
	if !ok || rec.IsZero() && st.Uid == 0 && st.Gid == 0 {
		return false
	}
	w.st = st
	rec.apply(&w.st)
	return true
}

// apply makes st what it would be for real root.
func (rec *Record) apply(st *unix.Statx_t) {
	st.Uid, st.Gid = rec.UID, rec.GID
	device := rec.Type != 0 && uint32(st.Mode)&unix.S_IFMT == unix.S_IFREG
	st.Mode = uint16(rec.wanted(uint32(st.Mode)))
	if device {
		st.Rdev_major, st.Rdev_minor = unix.Major(rec.Rdev), unix.Minor(rec.Rdev)
		st.Size, st.Blocks = 0, 0
	}
}

// encode writes a struct stat.
func (l *statLayout) encode(order binary.ByteOrder, b []byte, st *unix.Statx_t) {
	put := func(at, size int, v uint64) {
		if size == 4 {
			order.PutUint32(b[at:], uint32(v))
		} else {
			order.PutUint64(b[at:], v)
		}
	}
	put(l.dev, 8, encodeDev(st.Dev_major, st.Dev_minor))
	put(l.ino, 8, st.Ino)
	if l.ino32 >= 0 {
		put(l.ino32, 4, st.Ino)
	}
	put(l.mode, 4, uint64(st.Mode))
	put(l.nlink, l.nlinkSize, uint64(st.Nlink))
	put(l.uid, 4, uint64(st.Uid))
	put(l.gid, 4, uint64(st.Gid))
	put(l.rdev, 8, encodeDev(st.Rdev_major, st.Rdev_minor))
	put(l.length, 8, st.Size)
	put(l.blksize, l.blksizeSize, uint64(st.Blksize))
	put(l.blocks, 8, st.Blocks)
	for at, ts := range map[int]unix.StatxTimestamp{l.atime: st.Atime, l.mtime: st.Mtime, l.ctime: st.Ctime} {
		put(at, l.timeSize, uint64(ts.Sec))
		put(at+l.timeSize, l.timeSize, uint64(ts.Nsec))
	}
}

// encodeDev is the kernel's new_encode_dev.
func encodeDev(major, minor uint32) uint64 {
	return uint64(minor&0xff | major<<8 | minor&^0xff<<12)
}
