package layer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Unpack flattens layers, bottom first, into dir, an existing empty directory.
//
// The result is that of applying each layer to the one below (OCI image
// specification, layer.md): the last member of a name wins; a directory keeps
// its content and takes the attributes of the topmost layer that has it;
// anything else replaces what is there; whiteouts and opaque marks hide
// lower layers only, wherever in their own layer they stand. A link among the parent
// directories of a member is followed, inside dir. Modes are widened so that
// the owner can read and remove everything (u+rwx for directories, u+rw for files); set-id bits stay.
//
// Layers are decompressed ahead of their turn, in bounded memory. The first
// error ends the work and names layer and path; dir is then left half full,
// for the caller to remove.
func Unpack(ctx context.Context, dir string, blobs []Blob, opts Options) (*Unpacked, error) {
	t, err := newTree(dir, opts.KeepOwners, opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("unpack into %q: %w", dir, err)
	}
	defer t.close()
	if err := t.setImplicit(t.root.fd, ".", "."); err != nil {
		return nil, fmt.Errorf("unpack into %q: %w", dir, err)
	}
	u := &Unpacked{Owners: t.table}
	streams := newAhead(blobs, opts.Progress)
	defer streams.close()
	for i, b := range blobs {
		s := streams.next(ctx)
		ru := rules{into: ".", whiteouts: true, hiding: i > 0, devices: opts.KeepDev}
		err := u.layer(ctx, t, s, b, ru)
		s.close()
		if err != nil {
			return nil, fmt.Errorf("unpack layer %s: %w", b.name(i), err)
		}
	}
	if err := t.finish(ctx); err != nil {
		return nil, fmt.Errorf("unpack into %q: %w", dir, err)
	}
	return u, nil
}

func (b *Blob) name(i int) string {
	switch {
	case b.Digest != "":
		return b.Digest.String()
	case b.Name != "":
		return strconv.Quote(b.Name)
	}
	return fmt.Sprintf("number %d", i+1)
}

func (u *Unpacked) layer(ctx context.Context, t *tree, s *stream, b Blob, ru rules) error {
	if err := t.apply(ctx, s, ru, &u.Fixes); err != nil {
		return err
	}
	id, size, err := s.finish()
	if err != nil {
		return err
	}
	if b.DiffID != "" && b.DiffID != id {
		return &DiffIDError{Want: b.DiffID, Got: id}
	}
	u.DiffIDs = append(u.DiffIDs, id)
	u.Size += size
	return nil
}

// finish gives directories what had to wait until they were full.
func (t *tree) finish(ctx context.Context) error {
	if err := t.flush(); err != nil {
		return err
	}
	t.forget()
	for path, xattrs := range t.late {
		rec := t.table[path]
		rec.Xattrs = xattrs
		t.table[path] = rec
	}
	for _, path := range slices.Sorted(maps.Keys(t.times)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.strict(path)
		if err != nil {
			return failed("open directory", path, err)
		}
		err = t.finishDir(h.fd, t.times[path])
		h.drop()
		if err != nil {
			return failed("set time of", path, err)
		}
	}
	return nil
}

func (t *tree) finishDir(fd int, d dirTimes) error {
	if d.mode&unix.S_ISGID != 0 {
		if err := unix.Fchmod(fd, d.mode); err != nil {
			return err
		}
	}
	return setTimes(fd, d.mtime)
}

// strict opens a directory by its resolved path, through no link at all.
func (t *tree) strict(path string) (*handle, error) {
	if path == "." {
		return t.root.hold(), nil
	}
	if h := t.open[path]; h != nil {
		return h.hold(), nil
	}
	up, base := splitName(path)
	parent, err := t.strict(up)
	if err != nil {
		return nil, err
	}
	defer parent.drop()
	fd, err := openDir(parent.fd, base)
	if err != nil {
		return nil, err
	}
	h := newHandle(fd, path)
	t.remember(path, h)
	return h, nil
}
