package build

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/storage"
)

// squashKey is what a squashed layer depends on besides the base image: the
// state that it holds the files of.
type squashKey struct{ Op, State string }

// squash makes one tree of all that the build added to the base image, so
// that the image has one layer more than that. The result is cached like that
// of an instruction.
func (s *stage) squash(ctx context.Context) error {
	t := &stage{b: s.b, num: s.num, from: s.from, ast: s.ast, scope: s.scope, key: "scratch", base: s.base}
	if s.base != nil {
		config, err := s.b.store.Config(s.base)
		if err != nil {
			return err
		}
		t.key, t.chain = baseKey(config, s.b.Chroot), slices.Clone(s.base.Chain)
		if t.owners, err = s.b.chainOwners(t.chain); err != nil {
			return err
		}
	}
	below := len(t.chain)
	if len(s.chain)-below < 2 {
		return nil
	}
	step := &Step{ID: int(s.b.ids.Add(1)), Stage: s.num, Name: s.ast.Name(), Line: s.from.Pos().Line, Text: "(squash)", Flag: ' '}
	if s.b.Report != nil {
		s.b.Report.Begun(*step)
	}
	err := t.apply(ctx, op{
		step: step,
		what: func(context.Context) (any, error) { return squashKey{"SQUASH", s.key}, nil },
		do: func(ctx context.Context, snap *snapshot) (fakeroot.Table, error) {
			return s.squashInto(ctx, snap, s.chain[below:])
		},
		text: "(squash)",
	})
	s.b.finished(step, err)
	if err != nil {
		return s.b.at(s.from, err)
	}
	s.squashHistory(len(t.chain) > below)
	s.chain, s.owners, s.merged = t.chain, t.owners, t.merged
	return nil
}

// squashHistory lets the last line of the history stand for the layer; there
// has to be one line for each layer (image-spec, config.md).
func (s *stage) squashHistory(layer bool) {
	first := 0
	if s.base != nil {
		if config, err := s.b.store.Config(s.base); err == nil {
			first = min(len(config.History), len(s.config.History))
		}
	}
	s.config.History = slices.Clone(s.config.History)
	for i := first; i < len(s.config.History); i++ {
		s.config.History[i].EmptyLayer = !layer || i < len(s.config.History)-1
	}
}

// squashInto brings the snapshot of the base image to the stage's state: every
// path that one of the added trees mentions is made as it is in the end.
func (s *stage) squashInto(ctx context.Context, snap *snapshot, added []storage.TreeID) (_ fakeroot.Table, err error) {
	paths, replaced, err := s.b.changedPaths(ctx, added)
	if err != nil {
		return nil, err
	}
	from := &origin{b: s.b, key: s.key, chain: s.chain}
	defer func() { err = errors.Join(err, from.close(ctx)) }()
	src, err := from.open(ctx)
	if err == nil {
		src.owners, err = s.b.chainOwners(s.chain)
	}
	if err != nil {
		return nil, err
	}
	c := &copier{src: src, dst: snap.root, real: s.b.Chroot, placed: fakeroot.Table{}, links: map[[2]uint64]string{}}
	snap.table = fakeroot.Table{}
	for _, name := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.squashPath(ctx, c, snap, name, replaced[name]); err != nil {
			return nil, &fs.PathError{Op: "squash", Path: "/" + name, Err: plain(err)}
		}
	}
	return c.placed, c.finishTimes()
}

// squashPath makes one path of the snapshot as it is in the source. replaced
// says that on the way the path was not a directory, so that what the base has
// below it is gone even if it is one again.
func (s *stage) squashPath(ctx context.Context, c *copier, snap *snapshot, name string, replaced bool) error {
	it := item{src: name, rel: name}
	p, err := c.src.root.Resolve(name, false, nil)
	if err == nil {
		defer p.Close()
		it.st, err = p.Stat()
	}
	gone := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
	if err != nil && !gone {
		return err
	}
	var old unix.Stat_t
	there := filepath.Join(snap.root.Name(), name)
	if unix.Lstat(there, &old) == nil {
		wasDir := old.Mode&unix.S_IFMT == unix.S_IFDIR
		if gone || wasDir != it.is(unix.S_IFDIR) || wasDir && replaced {
			if err := storage.RemoveTree(ctx, there); err != nil {
				return err
			}
			for path := range snap.owners {
				if path == name || strings.HasPrefix(path, name+"/") {
					snap.table[path] = fakeroot.Record{Gone: true}
				}
			}
		}
	}
	switch it.st.Mode & unix.S_IFMT {
	case 0, unix.S_IFSOCK:
		return nil
	case unix.S_IFLNK:
		if it.link, err = readlink(p.Dir, p.Base); err != nil {
			return err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		to, err := c.dst.Resolve(name, false, nil)
		if err != nil {
			return err
		}
		defer to.Close()
		if err := c.replace(to, func() error { return unix.Mknodat(to.Dir, to.Base, it.st.Mode, int(it.st.Rdev)) }); err != nil {
			return err
		}
		return c.finish(&it, to)
	}
	return c.item(&it, "")
}

// isOpaque reports whether a directory of a tree hides what is below it
// (Documentation/filesystems/overlayfs.rst, with userxattr).
func isOpaque(dir string) bool {
	var v [1]byte
	n, err := unix.Lgetxattr(dir, "user.overlay.opaque", v[:])
	return err == nil && n == 1 && v[0] == 'y'
}

// changedPaths lists what trees mention, parents first, and which of it one of
// them has as something that is no directory.
func (b *builder) changedPaths(ctx context.Context, trees []storage.TreeID) (paths []string, replaced map[string]bool, err error) {
	replaced = map[string]bool{}
	for _, id := range trees {
		top := b.store.TreePath(id)
		err := filepath.WalkDir(top, func(p string, d os.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil || p == top {
				return err
			}
			name := p[len(top)+1:]
			paths = append(paths, name)
			if !d.IsDir() || isOpaque(p) {
				replaced[name] = true
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	return slices.Compact(paths), replaced, nil
}
