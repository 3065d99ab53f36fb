package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/archive"
	"virga/fakeroot"
	"virga/image"
	"virga/layer"
	"virga/storage"
)

// Import makes an image of one layer from a directory, or from an archive
// with or without one top directory. The metadata of ch-image (ch/metadata.json)
// becomes the configuration.
func (x *Exchange) Import(ctx context.Context, path string, ref image.Reference) (*storage.Image, error) {
	config, tree, err := x.importTree(ctx, path, x.now)
	if err != nil {
		return nil, fmt.Errorf("import %q: %w", path, err)
	}
	img, err := x.describe(ctx, ref, config, tree)
	if err == nil {
		err = x.record(ctx, img)
	}
	if err != nil {
		return nil, fmt.Errorf("import %q: %w", path, err)
	}
	return img, nil
}

// now is the time that enters images.
func (x *Exchange) now(context.Context, string) (time.Time, error) {
	if x.opts.Epoch != nil {
		return *x.opts.Epoch, nil
	}
	return time.Now().UTC().Truncate(time.Second), nil
}

// newest is the time that enters images of which the same files shall make
// the same again.
func (x *Exchange) newest(ctx context.Context, dir string) (time.Time, error) {
	if x.opts.Epoch != nil {
		return *x.opts.Epoch, nil
	}
	t, err := newestIn(ctx, dir)
	return t.UTC().Truncate(time.Second), err
}

// importTree makes a tree of a directory or archive, and its configuration,
// made at the time that created finds for the files in a directory.
func (x *Exchange) importTree(ctx context.Context, path string, created func(ctx context.Context, dir string) (time.Time, error)) (_ *image.Config, _ *storage.Tree, err error) {
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir, err := work.Sub("fs")
	if err != nil {
		return nil, nil, err
	}
	owners, err := x.read(ctx, work, dir, path)
	if err != nil {
		return nil, nil, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
		return nil, nil, errors.New("nothing in it")
	}
	when, err := created(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	config, err := importConfig(dir, path, when)
	if err != nil {
		return nil, nil, err
	}
	diffID, size, err := layer.DiffID(ctx, dir, owners, layer.PackOptions{Logger: x.log})
	if err != nil {
		return nil, nil, err
	}
	config.RootFS.DiffIDs = []digest.Digest{diffID}
	tree, err := x.store.CommitTree(ctx, dir, storage.Tree{
		ID: storage.BaseID(config.RootFS.DiffIDs, x.flavor()), Base: true, Created: time.Now().UTC(), Bytes: size,
		Layers: []storage.Layer{{DiffID: diffID}},
	}, owners)
	return config, tree, err
}

// read fills dir from a directory or an archive.
func (x *Exchange) read(ctx context.Context, work *storage.Work, dir, path string) (fakeroot.Table, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	if fi.IsDir() {
		return layer.CopyTree(ctx, dir, path, layer.CopyOptions{Logger: x.log})
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	if f, err = seekable(f, filepath.Join(work.Path(), "archive")); err != nil {
		return nil, err
	}
	defer f.Close()
	if archive.IsSquash(f.Name()) {
		return x.readSquash(ctx, dir, f.Name())
	}
	return x.readTar(ctx, dir, f, layer.ExtractOptions{StripTop: true})
}

func (x *Exchange) readTar(ctx context.Context, dir string, r io.Reader, opts layer.ExtractOptions) (fakeroot.Table, error) {
	opts.KeepOwners, opts.Logger = x.opts.Real, x.log
	u, err := layer.ExtractTar(ctx, dir, r, opts)
	if err != nil {
		return nil, err
	}
	x.logFixes(u.Fixes)
	return u.Owners, nil
}

// readSquash fills dir from a SquashFS file, which has no top directory to be
// left out.
func (x *Exchange) readSquash(ctx context.Context, dir, path string) (owners fakeroot.Table, err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	remark, err := archive.Unsquash(ctx, path, func(r io.Reader) error {
		owners, err = x.readTar(ctx, dir, layer.Bounded(r, fi.Size()), layer.ExtractOptions{})
		return err
	})
	if remark != "" {
		x.log.Warn("not everything in the SquashFS file was read", "sqfs2tar", remark)
	}
	return owners, err
}

// seekable returns f, or a copy of it at name if it is a pipe.
func seekable(f *os.File, name string) (*os.File, error) {
	if _, err := f.Seek(0, io.SeekCurrent); err == nil {
		return f, nil
	}
	c, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(c, f); err == nil {
		_, err = c.Seek(0, io.SeekStart)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// cause drops the operation and path of an error about a path the caller
// names.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// describe is an image of one tree that no registry knows; its configuration
// is stored.
func (x *Exchange) describe(ctx context.Context, ref image.Reference, config *image.Config, tree *storage.Tree) (*storage.Image, error) {
	b, err := config.Encode()
	if err != nil {
		return nil, err
	}
	id, err := x.store.AddBlob(ctx, b)
	if err != nil {
		return nil, err
	}
	img := &storage.Image{
		Ref: ref.String(), ID: id, Chain: []storage.TreeID{tree.ID}, Platform: config.Platform(), Size: tree.Bytes, Stored: time.Now().UTC(),
	}
	if config.Created != nil {
		img.Created = *config.Created
	}
	return img, nil
}

// record names an image whose parts are all in storage.
func (x *Exchange) record(ctx context.Context, img *storage.Image) error {
	if err := x.store.Sync(ctx); err != nil {
		return err
	}
	return x.store.PutImage(ctx, *img)
}

// Unpack writes the files of an image to dir, which must be empty or not
// exist, for people and other tools. An ordinary user owns them all, and
// set-id bits are left out then: they would give others that user's rights.
func (x *Exchange) Unpack(ctx context.Context, img *storage.Image, dir string) error {
	undo, err := makeEmpty(dir)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", img.Ref, err)
	}
	if err := x.unpackTo(ctx, img, dir); err != nil {
		return errors.Join(fmt.Errorf("unpack %s: %w", img.Ref, err), undo(ctx))
	}
	return nil
}

func (x *Exchange) unpackTo(ctx context.Context, img *storage.Image, dir string) error {
	return x.flat(ctx, img, func(src string, owners fakeroot.Table) error {
		return layer.Export(ctx, dir, src, owners, layer.ExportOptions{Owners: x.opts.Real, DropSetID: !x.opts.Real, Logger: x.log})
	})
}

// Flatten merges a chain of trees into dir: each tree is read as the layer it
// is packed to, and the layers are unpacked as those of a registry are.
func (x *Exchange) Flatten(ctx context.Context, dir string, chain []storage.TreeID) (fakeroot.Table, error) {
	blobs, err := x.packing(chain)
	if err != nil {
		return nil, err
	}
	u, err := layer.Unpack(ctx, dir, blobs, layer.Options{KeepOwners: x.opts.Real, KeepDev: true, Logger: x.log})
	if err != nil {
		return nil, err
	}
	return u.Owners, nil
}

// packing gives the trees of a chain as layers that are packed while they are
// read.
func (x *Exchange) packing(chain []storage.TreeID) ([]layer.Blob, error) {
	blobs := make([]layer.Blob, len(chain))
	for i, id := range chain {
		owners, err := x.store.Owners(id)
		if err != nil {
			return nil, err
		}
		tree, err := x.store.Tree(id)
		if err != nil {
			return nil, err
		}
		blobs[i] = layer.Blob{Digest: digest.FromString(string(id)), Open: func(ctx context.Context) (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() {
				w.CloseWithError(layer.Pack(ctx, w, x.store.TreePath(id), owners, layer.PackOptions{Whiteouts: !tree.Base, Logger: x.log}))
			}()
			return r, nil
		}}
	}
	return blobs, nil
}
