package exchange

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"virga/archive"
	"virga/image"
	"virga/storage"
)

// Read brings the images of a file or directory into storage without names of
// its own there: those that it has are returned beside. rootfs says that it
// is a root file system even if it looks like something else.
func (x *Exchange) Read(ctx context.Context, path string, want archive.Want, rootfs bool) (_ []Named, err error) {
	fail := func(err error) ([]Named, error) { return nil, fmt.Errorf("read %q: %w", path, err) }
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	if !rootfs {
		f, err := openImages(ctx, work, path, false)
		switch {
		case err == nil && f.IsImage():
			defer f.close()
			return x.readImages(ctx, f.File, path, want)
		case err == nil:
			f.close()
		case !errors.Is(err, archive.ErrNotImage):
			return fail(err)
		}
	}
	from := path
	if copied := filepath.Join(work.Path(), "archive"); exists(copied) {
		from = copied // what was read from a pipe cannot be read again
	}
	config, tree, err := x.importTree(ctx, from, x.now)
	if err != nil {
		return fail(err)
	}
	img, err := x.describe(ctx, nameFor(path), config, tree)
	if err != nil {
		return fail(err)
	}
	return []Named{{Image: img}}, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (x *Exchange) readImages(ctx context.Context, f *archive.File, path string, want archive.Want) ([]Named, error) {
	images, err := f.Images(want)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	var out []Named
	for _, img := range images {
		rec, err := x.loadImage(ctx, img)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", path, err)
		}
		n := Named{Image: rec}
		for _, name := range img.Names {
			if ref, err := image.ParseReference(name); err == nil {
				n.Names = append(n.Names, ref)
			}
		}
		rec.Ref = nameFor(path).String()
		out = append(out, n)
	}
	return out, nil
}

// nameFor is a name for what has none, after its file.
func nameFor(path string) image.Reference {
	base, _, _ := strings.Cut(filepath.Base(path), ".")
	ref, err := image.ParseReference(strings.ToLower(base))
	if err != nil {
		ref = image.Reference{Host: image.DefaultHost, Path: "library/image", Tag: "latest"}
	}
	return ref
}

// Name gives an image that Read returned a name in storage.
func (x *Exchange) Name(ctx context.Context, img *storage.Image, ref image.Reference) error {
	named := *img
	named.Ref = ref.String()
	return x.record(ctx, &named)
}
