package layer

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// Change is one layer, unpacked to be stacked on others.
type Change struct {
	Unpacked
	dirs map[string]bool
}

// Fate tells what the change does to a path of the trees below, for
// fakeroot.Table.Shadow.
func (c *Change) Fate(path string) fakeroot.Fate {
	for p := path; p != "."; p, _ = splitName(p) {
		rec, ok := c.Owners[p]
		switch {
		case !ok:
		case rec.IsWhiteout(), p != path && !c.dirs[p]:
			return fakeroot.Removed
		case p == path:
			return fakeroot.Replaced
		}
	}
	return fakeroot.Kept
}

// UnpackChange unpacks one layer into dir, an existing empty directory, as a
// tree that is stacked on others: what Pack with Whiteouts made comes back.
// Whiteouts become marks (see [MarkGone]), devices of an ordinary user empty
// files; Unpacked.Owners has a record of every member.
//
// Opaque marks are refused: what they hide depends on the trees below, and
// virga packs none.
func UnpackChange(ctx context.Context, dir string, b Blob, opts Options) (*Change, error) {
	t, err := newTree(dir, opts.KeepOwners, opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("unpack into %q: %w", dir, err)
	}
	defer t.close()
	t.all, t.change = true, true
	u := &Change{Unpacked{Owners: t.table}, map[string]bool{}}
	streams := newAhead([]Blob{b}, opts.Progress)
	defer streams.close()
	s := streams.next(ctx)
	err = u.layer(ctx, t, s, b, rules{into: ".", whiteouts: true, devices: true})
	s.close()
	for path := range t.times {
		u.dirs[path] = true
	}
	if err == nil {
		err = t.finish(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack layer %s: %w", b.name(0), err)
	}
	return u, nil
}

var errOpaque = errors.New("opaque marks belong into whole images only")

// markGone makes a mark for a deleted file. What this layer has at that name
// as well is not deleted.
func (t *tree) markGone(up, name string) error {
	dir, err := t.dir(up)
	if err != nil {
		return err
	}
	defer dir.drop()
	path := join(dir.path, name)
	if _, ok := t.table[path]; ok {
		return nil
	}
	if err := MarkGone(dir.fd, name); err != nil {
		return failed("mark as deleted", path, err)
	}
	t.table[path] = fakeroot.Whiteout
	return nil
}

// MarkGone makes base in the open directory dirfd stand for a deleted file of
// the trees below: overlayfs' device 0:0 (Documentation/filesystems/overlayfs.rst),
// or an empty file where none can be made, which is a mark only together with
// the record fakeroot.Whiteout. Nothing of the name may exist.
func MarkGone(dirfd int, base string) error {
	err := unix.Mknodat(dirfd, base, unix.S_IFCHR|0o600, 0)
	if err == nil || err == unix.EEXIST {
		return err
	}
	fd, err := openAt(dirfd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
