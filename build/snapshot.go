package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/internal/inroot"
	"virga/layer"
	"virga/storage"
	"virga/unpriv"
)

// snapshot is a chain of trees mounted as one file system. What is changed
// in it goes to the upper directory, which commit makes a tree of its own.
type snapshot struct {
	b      *builder
	dir    string // holds upper, work and merged
	root   *inroot.Root
	owners fakeroot.Table // of the trees below
	lowers []string       // their directories, top first; nil if root is no mount
	// table holds the records of everything in upper, once a RUN has told.
	table fakeroot.Table
	plain *plainRoot // root is this, not a mount
}

// mount makes a snapshot of a chain. RUN needs mount points for /proc and the
// like; with stubs they are there without becoming part of the image.
func (b *builder) mount(ctx context.Context, chain []storage.TreeID, owners fakeroot.Table, stubs bool) (_ *snapshot, err error) {
	dir, err := b.work.Sub(fmt.Sprintf("snap%d", b.snaps.Add(1)))
	if err != nil {
		return nil, err
	}
	s := &snapshot{b: b, dir: dir, owners: owners}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	lowers, err := b.store.Lowers(ctx, chain)
	if err != nil {
		return nil, err
	}
	s.lowers = lowers[:len(lowers):len(lowers)]
	if stubs || len(lowers) == 0 {
		stub, err := b.stub(stubs)
		if err != nil {
			return nil, err
		}
		lowers = append(lowers, stub)
	}
	if err := s.makeUpper(lowers[0]); err != nil {
		return nil, err
	}
	if err := unpriv.MountOverlay(s.path("merged"), unpriv.Overlay{Lower: lowers, Upper: s.path("upper"), Work: s.path("work"), Volatile: true}); err != nil {
		return nil, err
	}
	s.root, err = inroot.Open(s.path("merged"))
	return s, err
}

func (s *snapshot) path(name string) string { return filepath.Join(s.dir, name) }

// makeUpper creates the directories of the mount. The root of an overlay has
// the attributes of its upper directory, so they are taken from below.
func (s *snapshot) makeUpper(below string) error {
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(s.path(name), 0o700); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(below, &st); err != nil {
		return fmt.Errorf("stat %q: %w", below, err)
	}
	if err := unix.Chmod(s.path("upper"), st.Mode&0o7777); err != nil {
		return err
	}
	ts := []unix.Timespec{st.Mtim, st.Mtim}
	return unix.UtimesNanoAt(unix.AT_FDCWD, s.path("upper"), ts, 0)
}

// stub is an empty lowest layer, or the one with mount points.
func (b *builder) stub(mountPoints bool) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := "empty"
	if mountPoints {
		name = "mountpoints"
	}
	dir := filepath.Join(b.work.Path(), name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if !mountPoints {
		return dir, nil
	}
	return dir, unpriv.Skeleton(dir)
}

// owner resolves USER[:GROUP] in the snapshot's passwd and group.
func (s *snapshot) owner(arg string) (*fakeroot.Record, error) { return lookupOwner(s.root, arg) }

// commit makes a tree of what was changed. placed holds the records of what
// was put there; nil means that a RUN left its own. It returns the tree, or
// nothing if nothing was changed.
func (s *snapshot) commit(ctx context.Context, placed fakeroot.Table) ([]storage.TreeID, error) {
	record := func(path string, st *unix.Stat_t) fakeroot.Record {
		if s.b.Chroot {
			return realRecord(st)
		}
		if placed == nil {
			return s.table[path]
		}
		if rec, ok := placed[path]; ok {
			return rec
		}
		return s.owners[path]
	}
	c := capture{ctx: ctx, below: s.owners, lowers: s.lowers, epoch: s.b.Epoch, record: record}
	if s.plain != nil {
		gone, err := s.difference(ctx, record)
		if err != nil {
			return nil, err
		}
		c.record = func(path string, st *unix.Stat_t) fakeroot.Record {
			if gone[path] {
				return fakeroot.Whiteout
			}
			return record(path, st)
		}
	}
	if err := s.unmount(); err != nil {
		return nil, err
	}
	owners, err := c.run(s.path("upper"))
	if err != nil {
		return nil, err
	}
	if c.n == 0 {
		return nil, nil
	}
	for path, rec := range s.table {
		if _, ok := owners[path]; rec.Gone && !ok {
			owners[path] = rec
		}
	}
	diffID, size, err := layer.DiffID(ctx, s.path("upper"), owners, layer.PackOptions{Whiteouts: true, Logger: s.b.log})
	if err != nil {
		return nil, fmt.Errorf("compute diff ID: %w", err)
	}
	tree, err := s.b.store.CommitTree(ctx, s.path("upper"), storage.Tree{
		ID: storage.NewTreeID(), Created: s.b.now(), Files: int64(c.n), Bytes: size, Layers: []storage.Layer{{DiffID: diffID}},
	}, owners)
	if err != nil {
		return nil, err
	}
	return []storage.TreeID{tree.ID}, nil
}

// realRecord is what a tree made by real root needs no record for on its own
// machine, and a layer does.
func realRecord(st *unix.Stat_t) fakeroot.Record {
	rec := fakeroot.Record{UID: st.Uid, GID: st.Gid}
	if t := st.Mode & unix.S_IFMT; t == unix.S_IFCHR || t == unix.S_IFBLK {
		rec.Type, rec.Rdev = t, st.Rdev
	}
	return rec
}

func (s *snapshot) unmount() error {
	if s.root == nil {
		return nil
	}
	err := s.root.Close()
	s.root = nil
	if s.plain != nil {
		return err
	}
	return errors.Join(err, unpriv.Unmount(s.path("merged")))
}

// close unmounts the snapshot and removes what is left of it.
func (s *snapshot) close(ctx context.Context) error {
	return errors.Join(s.unmount(), storage.RemoveTree(context.WithoutCancel(ctx), s.dir))
}
