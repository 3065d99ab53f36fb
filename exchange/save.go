package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"virga/archive"
	"virga/fakeroot"
	"virga/image"
	"virga/layer"
	"virga/registry"
	"virga/storage"
)

// Named is an image of storage and the names that it gets in a file.
type Named struct {
	Image *storage.Image
	Names []image.Reference
}

// Save writes images as an OCI layout in a tar; with docker it is a
// docker-archive, too. An image that came from elsewhere is written as it
// came; of any other, the layers are those that Push sends. With watch, the
// layers are decompressed at the same time.
func (x *Exchange) Save(ctx context.Context, w io.Writer, images []Named, docker bool, watch *Watch) error {
	src, err := x.sources(ctx, images)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	if watch != nil {
		if watch.list, err = written(src, docker); err != nil {
			return fmt.Errorf("save: %w", err)
		}
		g.Go(func() error { return x.compareLayers(gctx, watch.list) })
	}
	g.Go(func() error { return archive.WriteTar(gctx, w, src, docker) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// SaveLayout writes images as an OCI layout to the directory dir, which must
// be empty or not exist.
func (x *Exchange) SaveLayout(ctx context.Context, dir string, images []Named) error {
	src, err := x.sources(ctx, images)
	if err != nil {
		return err
	}
	undo, err := makeEmpty(dir)
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err := archive.WriteLayout(ctx, dir, src); err != nil {
		return errors.Join(fmt.Errorf("save to %q: %w", dir, err), undo(ctx))
	}
	return nil
}

func (x *Exchange) sources(ctx context.Context, images []Named) ([]archive.Source, error) {
	out := make([]archive.Source, len(images))
	for i, n := range images {
		var err error
		if out[i], err = x.source(ctx, n); err != nil {
			return nil, fmt.Errorf("save %s: %w", n.Image.Ref, err)
		}
	}
	return out, nil
}

func (x *Exchange) source(ctx context.Context, n Named) (archive.Source, error) {
	img := *n.Image
	if err := x.store.Pin(ctx, img.Chain...); err != nil {
		return archive.Source{}, err
	}
	if img.Digest != "" && !x.complete(img) {
		x.log.Warn("the layers as they came are no longer in storage: its digest changes", "image", img.Ref)
		img.Digest = ""
	}
	up, err := x.upload(ctx, &img, PushOptions{}, func(u registry.Upload) registry.Upload { return u })
	if err != nil {
		return archive.Source{}, err
	}
	if n.Image.Digest == "" {
		if err := x.remember(ctx, n.Image, up.Manifest); err != nil {
			return archive.Source{}, err
		}
	}
	src := archive.Source{Names: n.Names, Manifest: up.Manifest, MediaType: up.MediaType, Config: up.Config, Platform: img.Platform}
	for _, l := range up.Layers {
		src.Layers = append(src.Layers, archive.Layer{
			Digest: l.Digest, Size: l.Size, MediaType: l.MediaType,
			Open: func() (io.ReadCloser, error) { return l.Open(ctx) },
		})
	}
	return src, nil
}

// complete reports whether manifest and layers are in storage as they came.
func (x *Exchange) complete(img storage.Image) bool {
	manifest, err := x.store.ReadBlob(img.Digest)
	if err != nil {
		return false
	}
	m, err := parseManifest(manifest)
	if err != nil {
		return false
	}
	for _, l := range m.Layers {
		if size, err := x.store.StatBlob(l.Digest); err != nil || size != l.Size {
			return false
		}
	}
	return true
}

// SaveTree writes the files of an image as one plain tar, with the owners,
// modes, devices and attributes that they have in the image.
func (x *Exchange) SaveTree(ctx context.Context, w io.Writer, img *storage.Image) error {
	err := x.flat(ctx, img, func(dir string, owners fakeroot.Table) error {
		return layer.Pack(ctx, w, dir, owners, layer.PackOptions{KeepOwners: x.opts.Real, Logger: x.log})
	})
	if err != nil {
		return fmt.Errorf("save %s: %w", img.Ref, err)
	}
	return nil
}

// flat calls use with the files of an image as one directory.
func (x *Exchange) flat(ctx context.Context, img *storage.Image, use func(dir string, owners fakeroot.Table) error) (err error) {
	if err := x.store.Pin(ctx, img.Chain...); err != nil {
		return err
	}
	if len(img.Chain) == 1 {
		owners, err := x.store.Owners(img.Chain[0])
		if err != nil {
			return err
		}
		return use(x.store.TreePath(img.Chain[0]), owners)
	}
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir, err := work.Sub("flat")
	if err != nil {
		return err
	}
	owners, err := x.Flatten(ctx, dir, img.Chain)
	if err != nil {
		return err
	}
	return use(dir, owners)
}

// SaveFile calls write with a file that becomes path when write succeeded; one
// that is there stays as it is otherwise. What is no plain file, a pipe for
// example, is written to directly.
func SaveFile(path string, write func(*os.File) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("write %q: %w", path, cause(err))
		}
		return errors.Join(write(f), f.Close())
	}
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%.200s.%08x", filepath.Base(path), rand.Uint32()))
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("write %q: %w", path, cause(err))
	}
	defer os.Remove(temp) // not there any more when all went well
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

// SaveSquash writes the files of an image to a SquashFS file, with owners,
// modes, devices and attributes. The configuration is in it as ch-image's
// metadata, unless the image has such itself.
func (x *Exchange) SaveSquash(ctx context.Context, path string, img *storage.Image) error {
	return SaveFile(path, func(f *os.File) error {
		if err := x.squash(ctx, f.Name(), img); err != nil {
			return fmt.Errorf("save %s: %w", img.Ref, err)
		}
		return nil
	})
}

func (x *Exchange) squash(ctx context.Context, path string, img *storage.Image) error {
	config, err := x.store.Config(img)
	if err != nil {
		return err
	}
	return x.flat(ctx, img, func(dir string, owners fakeroot.Table) error {
		newest, err := newestIn(ctx, dir)
		if err != nil {
			return err
		}
		return archive.Squash(ctx, path, newest, func(w io.Writer) error {
			if _, err := os.Lstat(filepath.Join(dir, "ch")); err != nil {
				if err := writeMetadata(w, config, newest); err != nil {
					return err
				}
			}
			return layer.Pack(ctx, w, dir, owners, layer.PackOptions{KeepOwners: x.opts.Real, Logger: x.log})
		})
	})
}

// newestIn is the last modification time of what is in a directory.
func newestIn(ctx context.Context, dir string) (newest time.Time, err error) {
	err = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err == nil && fi.ModTime().After(newest) {
			newest = fi.ModTime()
		}
		return err
	})
	return newest, err
}
