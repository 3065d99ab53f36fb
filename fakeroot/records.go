package fakeroot

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// inode names a file while it exists.
type inode struct {
	dev uint64
	ino uint64
}

// entry is a record in memory.
type entry struct {
	Record
	// birth is the file's time of creation in nanoseconds, which tells it from
	// an earlier one with the same number; 0 matches any. An overlay's copy-up
	// changes the time but not the number, and the numbers of lower files are not
	// used again: entries of lower files have 0.
	birth int64
	// since is when the entry got its group, 0 for a lower file's; what is born
	// later in a setgid directory inherits it.
	since int64
}

// Records are the owners and other attributes of the files of one running
// container, by inode. It is safe for concurrent use.
type Records struct {
	mu      sync.Mutex
	entries map[inode]*entry
	// setgid counts entries ever seen that give a group to a setgid directory.
	// Without any, root's own files need no record.
	setgid int
	// maker is who makes what has no record: the user that the container starts
	// with. Files of lower layers without a record are root's.
	maker   Record
	started int64 // when it did, in nanoseconds
	inPlace bool  // there is no overlay: new files are told by their birth
}

// NewRecords returns an empty set.
func NewRecords() *Records { return &Records{entries: map[inode]*entry{}} }

// Len returns the number of records.
func (r *Records) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries)
}

// file is what statx(2) said about a file.
type file struct {
	inode
	birth int64
	mode  uint32
	mount uint64 // number of the mount (Linux 5.8), else 0
}

const statxWanted = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID

func fileOf(st *unix.Statx_t) file {
	f := file{
		inode: inode{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino},
		mode:  uint32(st.Mode),
		mount: st.Mnt_id,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		f.birth = st.Btime.Sec*int64(time.Second) + int64(st.Btime.Nsec)
	}
	return f
}

func (f file) isDir() bool { return f.mode&unix.S_IFMT == unix.S_IFDIR }

// find returns a file's entry, nil if it has none. The caller holds mu.
func (r *Records) find(f file) *entry {
	e := r.entries[f.inode]
	if e == nil {
		return nil
	}
	if e.birth != 0 && f.birth != 0 && e.birth != f.birth {
		delete(r.entries, f.inode) // the number was used again
		return nil
	}
	return e
}

// lookup returns a copy of a file's record.
func (r *Records) lookup(f file) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.find(f); e != nil {
		return e.Record, true
	}
	return Record{}, false
}

// update changes a file's record, making one if there is none.
func (r *Records) update(f file, change func(*Record)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(f)
	if e == nil {
		e = &entry{birth: f.birth}
		r.entries[f.inode] = e
	}
	gid := e.GID
	if e.Xattrs != nil { // copies are out
		e.Xattrs = maps.Clone(e.Xattrs)
	}
	change(&e.Record)
	if e.GID != gid || e.since == 0 && e.birth != 0 {
		e.since = time.Now().UnixNano()
	}
	r.noteSetgid(f, e)
}

// found records what a file has been since it was made.
func (r *Records) found(f file, rec Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &entry{Record: rec, birth: f.birth, since: f.birth}
	r.entries[f.inode] = e
	r.noteSetgid(f, e)
}

// noteSetgid counts directories that files may inherit a group from. A
// directory that has a group now may get its bit later, so all count.
func (r *Records) noteSetgid(f file, e *entry) {
	if f.isDir() && e.GID != 0 {
		r.setgid++
	}
}

// inherits reports whether a file may have to inherit a group.
func (r *Records) inherits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.setgid > 0
}

// derives reports whether a new file may be somebody's without having a record.
func (r *Records) derives() bool { return !r.maker.IsZero() || r.inherits() }

// Load adds the records of table for the files beneath root, the container's
// root directory as its programs see it (the merged overlay). inPlace says that
// root is a plain directory, not an overlay, whose files' inode numbers may be
// used again once they are removed. A path that does not exist is left out.
func (r *Records) Load(root *os.File, table Table, inPlace bool) error {
	r.inPlace = inPlace
	for _, path := range table.Paths() {
		rec := table[path]
		if rec.Gone || rec.IsZero() {
			continue
		}
		f, err := lstatBeneath(root, path)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue
		}
		if err != nil {
			return fmt.Errorf("load owner of %q: %w", path, err)
		}
		e := &entry{Record: rec}
		e.Xattrs = maps.Clone(rec.Xattrs)
		if inPlace {
			e.birth, e.since = f.birth, time.Now().UnixNano()
		}
		r.mu.Lock()
		r.entries[f.inode] = e
		r.noteSetgid(f, e)
		r.mu.Unlock()
	}
	return nil
}

// lstatBeneath asks for a path of a table. Its directories are directories in
// root too, or it does not exist: no link is followed.
func lstatBeneath(root *os.File, path string) (file, error) {
	var st unix.Statx_t
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(int(root.Fd()), path, &how)
	if err == unix.ELOOP {
		return file{}, unix.ENOTDIR
	}
	if err == unix.ENOSYS {
		err = unix.Statx(int(root.Fd()), path, unix.AT_SYMLINK_NOFOLLOW, statxWanted, &st)
		return fileOf(&st), err
	}
	if err != nil {
		return file{}, err
	}
	defer unix.Close(fd)
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, statxWanted, &st)
	return fileOf(&st), err
}

// wanted returns the mode and type a program should see for a file.
func (rec *Record) wanted(mode uint32) uint32 {
	if rec.HasPerm && mode&0o7777 == Widen(rec.Perm, mode&unix.S_IFMT == unix.S_IFDIR) {
		mode = mode&unix.S_IFMT | rec.Perm
	}
	if rec.Type != 0 && mode&unix.S_IFMT == unix.S_IFREG {
		mode = mode&^unix.S_IFMT | rec.Type
	}
	return mode
}

// setXattr and removeXattr change the attributes of a record.
func (rec *Record) setXattr(name string, value []byte) {
	if rec.Xattrs == nil {
		rec.Xattrs = map[string][]byte{}
	}
	rec.Xattrs[name] = bytes.Clone(value)
}

func (rec *Record) removeXattr(name string) {
	delete(rec.Xattrs, name)
	if len(rec.Xattrs) == 0 {
		rec.Xattrs = nil
	}
}
