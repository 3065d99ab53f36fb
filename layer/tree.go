package layer

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/internal/inroot"
)

const (
	// maxHandles bounds the directories held open.
	maxHandles = 256
	// maxPending bounds the names remembered of files that writers may not have
	// created yet.
	maxPending = 8192
	// implicitMode is the mode of a directory that no archive describes.
	implicitMode = 0o755
)

// tree is a directory that archives are unpacked into, member after member.
//
// Small files are created in the background, so the disk lags behind the
// archive. The names concerned are in pending; whoever needs to see or change one of them
// calls flush first.
type tree struct {
	in    *inroot.Root
	root  *handle
	real  bool   // owners, devices and attributes are real
	umask uint32 // what the kernel removes from modes: cannot be changed for one thread alone
	log   *slog.Logger

	table  fakeroot.Table
	all    bool                // table holds records that say nothing, too
	times  map[string]dirTimes // directories, by resolved path
	change bool                // the tree will be stacked on others: whiteouts and devices are marks
	ghosts map[string]bool     // members left out that a hard link may name

	open    map[string]*handle   // directories by the name in the archive
	pending map[string]struct{}  // resolved paths
	layer   int                  // number of the archive being unpacked, from 1
	touched map[pathKey]struct{} // resolved paths this layer has
	seeds   [2]maphash.Seed
	writers *writers

	lateMu sync.Mutex
	late   map[string]map[string][]byte // attributes found by writers, for the table
}

// dirTimes is what a directory gets when nothing is created in it any more.
type dirTimes struct {
	mode  uint32
	mtime unix.Timespec
}

func newTree(dir string, real bool, log *slog.Logger) (*tree, error) {
	in, err := inroot.Open(dir)
	if err != nil {
		return nil, err
	}
	f, err := in.OpenFile(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		in.Close()
		return nil, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("open %q: %w", dir, err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &tree{
		in:      in,
		root:    newHandle(fd, "."),
		real:    real,
		umask:   creationMask(fd),
		log:     log,
		table:   fakeroot.Table{},
		times:   map[string]dirTimes{},
		ghosts:  map[string]bool{},
		open:    map[string]*handle{},
		pending: map[string]struct{}{},
		late:    map[string]map[string][]byte{},
		seeds:   [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
	t.writers = startWriters(t.create)
	return t, nil
}

// create does the work of a writer.
func (t *tree) create(j job) error {
	if j.src != nil {
		return t.copyFile(j)
	}
	return createNode(j.dir.fd, j.base, j.m, j.mode, j.data, t.real, t.umask)
}

// creationMask is what new files below dir may lose from their mode: the
// umask, or anything if the directory has a default ACL (acl(5)).
func creationMask(dir int) uint32 {
	const all = 0o777
	if n, err := unix.Fgetxattr(dir, "system.posix_acl_default", nil); err == nil && n > 0 {
		return all
	}
	status, err := os.ReadFile("/proc/self/status") // Umask: since Linux 4.7
	if err != nil {
		return all
	}
	_, rest, ok := bytes.Cut(status, []byte("\nUmask:\t"))
	if !ok {
		return all
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(line), 8, 32)
	if err != nil {
		return all
	}
	return uint32(mask) & all
}

func (t *tree) close() {
	t.writers.close()
	t.forget()
	t.root.drop()
	t.in.Close()
}

// flush waits until the disk is as the members added so far say.
func (t *tree) flush() error {
	if len(t.pending) > 0 {
		clear(t.pending)
	}
	return t.writers.wait()
}

// settle flushes if path is one of those still to be created.
func (t *tree) settle(path string) error {
	if _, ok := t.pending[path]; ok || len(t.pending) >= maxPending {
		return t.flush()
	}
	return nil
}

// touch notes that this layer has path, and reports whether that is known already.
func (t *tree) touch(path string) (again bool) {
	k := t.key(path)
	_, again = t.touched[k]
	t.touched[k] = struct{}{}
	return again
}

// vacant reports that nothing can be at path, without asking the disk: the
// directory was made by this layer, which has not had the path before.
func (t *tree) vacant(parent *handle, path string, again bool) bool {
	if again || parent.born != t.layer || t.layer == 0 {
		return false
	}
	_, implied := t.times[path]
	return !implied
}

// pathKey stands for a path in less memory: a layer may have millions. The
// seeds are random, so that no archive can have two paths of one key.
type pathKey [2]uint64

func (t *tree) key(path string) pathKey {
	return pathKey{maphash.String(t.seeds[0], path), maphash.String(t.seeds[1], path)}
}

// forget closes the remembered directories.
func (t *tree) forget() {
	for _, h := range t.open {
		h.drop()
	}
	clear(t.open)
}

func (t *tree) remember(name string, h *handle) {
	if len(t.open) >= maxHandles {
		t.forget()
	}
	if old := t.open[name]; old != nil {
		old.drop()
	}
	t.open[name] = h.hold()
}

// dir opens the directory of a clean name, creating what is missing and
// following links inside the root. Something else that stands in the way is replaced. The
// caller drops the handle.
func (t *tree) dir(name string) (*handle, error) {
	if name == "." {
		return t.root.hold(), nil
	}
	if h := t.open[name]; h != nil {
		return h.hold(), nil
	}
	up, base := splitName(name)
	parent, err := t.dir(up)
	if err != nil {
		return nil, err
	}
	defer parent.drop()
	h, err := t.enter(parent, base)
	if err != nil {
		return nil, err
	}
	t.remember(name, h)
	return h, nil
}

// enter opens the directory base, or what the link base leads to.
func (t *tree) enter(parent *handle, base string) (*handle, error) {
	path := join(parent.path, base)
	var err error
	// Every try makes what the last one missed; only somebody else who keeps
	// changing the tree could need more.
	for range 4 {
		var fd int
		fd, err = openDir(parent.fd, base)
		if err == nil {
			return newHandle(fd, path), nil
		}
		if err != unix.ENOENT && err != unix.ENOTDIR && err != unix.ELOOP {
			break
		}
		if _, ok := t.pending[path]; ok {
			if err := t.flush(); err != nil {
				return nil, err
			}
			continue
		}
		if err == unix.ENOENT {
			if err := t.mkdirImplicit(parent.fd, base, path); err != nil {
				return nil, err
			}
			continue
		}
		st, serr := statAt(parent.fd, base)
		if serr == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return t.follow(path)
		}
		if err := t.remove(parent.fd, base, path); err != nil {
			return nil, err
		}
	}
	return nil, failed("open directory", path, err)
}

// follow opens the directory that the link at path leads to, inside the root.
func (t *tree) follow(path string) (*handle, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	p, err := t.in.Resolve(path, true, func(p *inroot.Place) error {
		return t.mkdirImplicit(p.Dir, p.Base, p.Path)
	})
	if err != nil {
		return nil, failed("follow link", path, err)
	}
	defer p.Close()
	fd, err := openDir(p.Dir, p.Base)
	if err == unix.ENOTDIR {
		if err := t.remove(p.Dir, p.Base, p.Path); err != nil {
			return nil, err
		}
		err = unix.ENOENT
	}
	if err == unix.ENOENT {
		if err := t.mkdirImplicit(p.Dir, p.Base, p.Path); err != nil {
			return nil, err
		}
		fd, err = openDir(p.Dir, p.Base)
	}
	if err != nil {
		return nil, failed("open directory", p.Path, err)
	}
	return newHandle(fd, p.Path), nil
}

// mkdirImplicit makes a directory that no archive describes (yet).
func (t *tree) mkdirImplicit(dirfd int, base, path string) error {
	if err := unix.Mkdirat(dirfd, base, implicitMode); err != nil {
		return failed("create directory", path, err)
	}
	return t.setImplicit(dirfd, base, path)
}

// setImplicit gives a directory the attributes of one that no archive
// describes: root's, rwxr-xr-x, as old as time, so that the result does not
// depend on when it is unpacked.
func (t *tree) setImplicit(dirfd int, base, path string) error {
	fd, err := openDir(dirfd, base)
	if err != nil {
		return failed("open directory", path, err)
	}
	defer unix.Close(fd)
	m := &member{name: path, kind: kindDir, mode: implicitMode}
	return t.describeDir(fd, path, m)
}

// describeDir gives the open directory at path the attributes of m. Its time
// and set-group-id bit wait until nothing is created in it any more: the bit would
// pass to new directories.
func (t *tree) describeDir(fd int, path string, m *member) error {
	mode := m.mode
	if !t.real {
		mode = fakeroot.Widen(mode, true)
	}
	if t.real {
		if err := unix.Fchown(fd, int(m.uid), int(m.gid)); err != nil {
			return failed("change owner", path, err)
		}
	}
	if err := unix.Fchmod(fd, mode&^unix.S_ISGID); err != nil {
		return failed("change mode", path, err)
	}
	left := t.setXattrs(fd, "", m)
	t.times[path] = dirTimes{mode: mode, mtime: m.mtime}
	t.record(path, m, left)
	return nil
}

// record notes what the disk does not hold of m.
func (t *tree) record(path string, m *member, xattrs map[string][]byte) {
	delete(t.ghosts, path)
	if t.real && !t.change {
		return
	}
	rec := fakeroot.Record{UID: m.uid, GID: m.gid, Xattrs: xattrs}
	switch {
	case m.node != 0:
		rec.Type, rec.Rdev = m.node, m.rdev
	case m.device():
		rec.Type, rec.Rdev = nodeType(m.kind), m.rdev
	}
	if !t.real && m.kind != kindSymlink && fakeroot.Widen(m.mode, m.kind == kindDir) != m.mode {
		rec.Perm, rec.HasPerm = m.mode, true
	}
	if rec.UID == 0 && rec.GID == 0 && !rec.HasPerm && rec.Type == 0 && len(xattrs) == 0 && !t.all {
		delete(t.table, path)
		return
	}
	t.table[path] = rec
}

func (t *tree) gone(path string) {
	delete(t.table, path)
	delete(t.times, path)
	delete(t.ghosts, path)
}

// copySparse writes a file with holes where r has whole blocks of zeros.
func copySparse(fd int, r io.Reader, size int64, buf []byte) error {
	const block = 4096
	var off int64
	for off < size {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), size-off)])
		if err != nil {
			return err
		}
		for p := buf[:n]; len(p) > 0; {
			b := p[:min(block, len(p))]
			if !allZero(b) {
				if err := pwriteAll(fd, b, off); err != nil {
					return err
				}
			}
			off += int64(len(b))
			p = p[len(b):]
		}
	}
	return unix.Ftruncate(fd, size)
}

func allZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
