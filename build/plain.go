package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/internal/inroot"
	"virga/storage"
)

// plainRoot is how a stage's files are held where overlay mounts cannot be
// written to: one directory, copied once, changed in place. What an
// instruction changed is found by comparing metadata before and after.
type plainRoot struct {
	dir   string
	index map[string]plainMeta
}

// plainMeta is what tells a changed file. ctime cannot be set back.
type plainMeta struct {
	ino         uint64
	mode        uint32
	size        int64
	mtime, ctim int64
	nlink       uint64
	xattrs      string // of files with several names
}

// same compares a look at one path with a later one. Of a directory counts
// what an overlay would copy it up for: what is in it is seen by itself. If
// another name of a file was removed, the file is what it was.
func (a plainMeta) same(b plainMeta) bool {
	if a.mode&unix.S_IFMT == unix.S_IFDIR {
		return a.mode == b.mode && a.mtime == b.mtime && a.ino == b.ino
	}
	if a.nlink > b.nlink {
		a.nlink, a.ctim = b.nlink, b.ctim
	}
	return a == b
}

// linkAttributes is a digest of the extended attributes of a file with
// several names: removing one of them changes ctime as well.
func linkAttributes(name string, st *unix.Stat_t) string {
	if st.Nlink < 2 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return ""
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, buf)
	if err != nil || n == 0 {
		return "" // a file system without
	}
	h := sha256.New()
	for attr := range strings.SplitSeq(string(buf[:n]), "\x00") {
		m, err := unix.Lgetxattr(name, attr, buf)
		fmt.Fprintf(h, "%q %q %v\n", attr, buf[:max(m, 0)], err)
	}
	return string(h.Sum(nil))
}

// mountPlain gives the stage's files as a snapshot that is changed in place.
func (s *stage) mountPlain(ctx context.Context) (_ *snapshot, err error) {
	b := s.b
	snap := &snapshot{b: b, owners: s.owners}
	if snap.dir, err = b.work.Sub(fmt.Sprintf("snap%d", b.snaps.Add(1))); err != nil {
		return nil, err
	}
	if err := os.Mkdir(snap.path("upper"), 0o755); err != nil {
		return nil, err
	}
	if s.plain == nil {
		p := &plainRoot{}
		if p.dir, err = b.flatCopy(ctx, s.chain); err != nil {
			return nil, err
		}
		if p.index, err = scanPlain(ctx, p.dir); err != nil {
			return nil, err
		}
		s.plain = p
	}
	snap.plain = s.plain
	snap.root, err = inroot.Open(s.plain.dir)
	return snap, err
}

// flatCopy merges a chain into a new directory of the build.
func (b *builder) flatCopy(ctx context.Context, chain []storage.TreeID) (string, error) {
	dir, err := b.work.Sub(fmt.Sprintf("plain%d", b.snaps.Add(1)))
	if err == nil && len(chain) > 0 {
		_, err = b.bases.Flatten(ctx, dir, chain)
	}
	return dir, err
}

func scanPlain(ctx context.Context, dir string) (map[string]plainMeta, error) {
	out := map[string]plainMeta{}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || name == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return fmt.Errorf("stat %q: %w", name, err)
		}
		out[name[len(dir)+1:]] = plainMeta{st.Ino, st.Mode, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), uint64(st.Nlink), linkAttributes(name, &st)}
		return nil
	})
	return out, err
}

// difference fills the upper directory with what an instruction changed.
// record tells what paths are recorded as now. The result holds the paths
// that stand for deleted ones.
func (s *snapshot) difference(ctx context.Context, record func(path string, st *unix.Stat_t) fakeroot.Record) (gone map[string]bool, err error) {
	now, err := scanPlain(ctx, s.plain.dir)
	if err != nil {
		return nil, err
	}
	c := &copier{src: &source{root: s.root, owners: fakeroot.Table{}}, placed: fakeroot.Table{}, links: map[[2]uint64]string{}}
	if c.dst, err = inroot.Open(s.path("upper")); err != nil {
		return nil, err
	}
	defer c.dst.Close()
	for _, name := range slices.Sorted(maps.Keys(now)) {
		was, ok := s.plain.index[name]
		st := unix.Stat_t{Mode: now[name].mode, Uid: 0}
		if ok && was.same(now[name]) && record(name, &st).Equal(s.owners[name]) {
			continue
		}
		if err := s.take(c, name); err != nil {
			return nil, err
		}
	}
	gone = map[string]bool{}
	for name := range s.plain.index {
		_, there := now[name]
		parent, ok := now[path.Dir(name)]
		if there || path.Dir(name) != "." && (!ok || parent.mode&unix.S_IFMT != unix.S_IFDIR) {
			continue
		}
		if err := s.takeParents(c, name); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(s.path("upper"), name), nil, 0o600); err != nil {
			return nil, err
		}
		gone[name] = true
	}
	s.plain.index = now
	return gone, c.finishTimes()
}

// take copies one path, and the directories above it.
func (s *snapshot) take(c *copier, name string) error {
	if err := s.takeParents(c, name); err != nil {
		return err
	}
	p, err := s.root.Resolve(name, false, nil)
	if err != nil {
		return err
	}
	defer p.Close()
	it := item{src: name, rel: name}
	if it.st, err = p.Stat(); err != nil {
		return err
	}
	switch it.st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		if it.link, err = readlink(p.Dir, p.Base); err != nil {
			return err
		}
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFCHR, unix.S_IFBLK:
		return unix.Mknod(filepath.Join(s.path("upper"), name), it.st.Mode, int(it.st.Rdev))
	}
	if err := c.item(&it, ""); err != nil {
		return fmt.Errorf("copy %q: %w", name, plain(err))
	}
	if s.b.Chroot {
		return unix.Lchown(filepath.Join(s.path("upper"), name), int(it.st.Uid), int(it.st.Gid))
	}
	return nil
}

func (s *snapshot) takeParents(c *copier, name string) error {
	for i := strings.IndexByte(name, '/'); i >= 0; {
		dir := name[:i]
		if _, err := c.dst.Lstat(dir); errors.Is(err, unix.ENOENT) {
			if err := s.take(c, dir); err != nil {
				return err
			}
		}
		j := strings.IndexByte(name[i+1:], '/')
		if j < 0 {
			break
		}
		i += 1 + j
	}
	return nil
}

// flatTree makes the whole chain one tree of storage, for programs that are
// to be run from it where chains cannot be mounted.
func (b *builder) flatTree(ctx context.Context, s *stage, layers []storage.Layer, size int64) (storage.TreeID, error) {
	flavor := ""
	if b.Chroot {
		flavor = "real"
	}
	var ids []digest.Digest
	for _, l := range layers {
		ids = append(ids, l.DiffID)
	}
	id := storage.BaseID(ids, flavor)
	if b.store.Pin(ctx, id) == nil {
		return id, nil
	}
	if err := s.ready(ctx); err != nil {
		return "", err
	}
	dir, err := b.flatCopy(ctx, s.chain)
	if err != nil {
		return "", err
	}
	tree, err := b.store.CommitTree(ctx, dir, storage.Tree{ID: id, Base: true, Layers: layers, Created: b.now(), Bytes: size}, s.owners)
	if err != nil {
		return "", err
	}
	return tree.ID, nil
}
