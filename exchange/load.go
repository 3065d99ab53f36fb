package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"virga/archive"
	"virga/image"
	"virga/layer"
	"virga/storage"
)

// loadedLevel is the gzip level of layers that were loaded uncompressed. What
// is loaded is mostly run here; the fastest level packs half as well again as
// none at all, and is four times as fast as the usual one.
const loadedLevel = 1

// LoadOptions tune Load. The zero value takes images for any platform under
// the names that they have in the file.
type LoadOptions struct {
	Names []image.Reference // instead of those in the file, which has one image then
	Want  archive.Want
}

// Load takes all images from a file or directory of any form that package
// archive reads, compressed or not. Nothing gets a name before everything of
// every image was compared with its size and digest. Returned is a record for
// each name.
func (x *Exchange) Load(ctx context.Context, path string, opts LoadOptions) (_ []*storage.Image, err error) {
	fail := func(err error) ([]*storage.Image, error) { return nil, fmt.Errorf("load %q: %w", path, err) }
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	f, err := openImages(ctx, work, path, false)
	if err != nil {
		return fail(err)
	}
	defer f.close()
	images, err := f.Images(opts.Want)
	if err != nil {
		return fail(err)
	}
	names, err := loadNames(images, opts.Names)
	if err != nil {
		return fail(err)
	}
	var all []*storage.Image
	for i, img := range images {
		rec, err := x.loadImage(ctx, img)
		if err != nil {
			return fail(err)
		}
		for _, n := range names[i] {
			r := *rec
			r.Ref = n.String()
			all = append(all, &r)
		}
	}
	if err := x.store.Sync(ctx); err != nil {
		return fail(err)
	}
	for _, r := range all {
		if err := x.store.PutImage(ctx, *r); err != nil {
			return fail(err)
		}
	}
	return all, nil
}

// hintedError is about a file, and knows what to do.
type hintedError struct {
	what string
	hint string
	is   error // what it is a case of, or nil
}

func (e *hintedError) Error() string { return e.what }
func (e *hintedError) Hint() string  { return e.hint }
func (e *hintedError) Unwrap() error { return e.is }

// loadNames are the references of each image.
func loadNames(images []*archive.Image, given []image.Reference) ([][]image.Reference, error) {
	if len(given) > 0 {
		if len(images) > 1 {
			return nil, &hintedError{what: fmt.Sprintf("there are %d images in it, a name can be given to one", len(images)), hint: "load them all under their own names, without --tag"}
		}
		return [][]image.Reference{given}, nil
	}
	out := make([][]image.Reference, len(images))
	for i, img := range images {
		for _, n := range img.Names {
			ref, err := image.ParseReference(n)
			if err != nil {
				return nil, &hintedError{what: fmt.Sprintf("image %d: %v", i+1, err), hint: "--tag gives it another name"}
			}
			ref.Digest = ""
			if ref.Tag == "" {
				ref.Tag = "latest"
			}
			if !slices.Contains(out[i], ref) {
				out[i] = append(out[i], ref)
			}
		}
		if len(out[i]) == 0 {
			return nil, &hintedError{what: fmt.Sprintf("image %d has no name in it", i+1), hint: "--tag gives it one"}
		}
	}
	return out, nil
}

// loadImage brings an image into storage, but for its name.
func (x *Exchange) loadImage(ctx context.Context, img *archive.Image) (*storage.Image, error) {
	if len(img.Layers) == 0 {
		return nil, errors.New("the image has no layers")
	}
	tree, err := x.loadTree(ctx, img)
	if err != nil {
		return nil, err
	}
	rec := &storage.Image{Chain: []storage.TreeID{tree.ID}, Platform: img.Parsed.Platform(), Size: tree.Bytes, Stored: time.Now().UTC()}
	if img.Parsed.Created != nil {
		rec.Created = *img.Parsed.Created
	}
	for _, b := range []struct {
		bytes []byte
		id    *digest.Digest
	}{{img.Config, &rec.ID}, {img.Manifest, &rec.Digest}, {img.Index, &rec.IndexDigest}} {
		if b.bytes == nil {
			continue
		}
		if *b.id, err = x.store.AddBlob(ctx, b.bytes); err != nil {
			return nil, err
		}
	}
	return rec, nil
}

// loadTree copies the layers into storage, and unpacks them at the same time.
func (x *Exchange) loadTree(ctx context.Context, img *archive.Image) (*storage.Tree, error) {
	ids := img.Parsed.RootFS.DiffIDs
	unlock, err := x.store.KeyLock(ctx, "pull-"+string(storage.BaseID(ids, x.flavor())))
	if err != nil {
		return nil, err
	}
	defer unlock()
	tree, err := x.present(ctx, ids)
	if err != nil {
		return nil, err
	}
	layers := make([]storage.Layer, len(img.Layers))
	blobs := make([]layer.Blob, len(img.Layers))
	for i, l := range img.Layers {
		layers[i] = storage.Layer{DiffID: l.DiffID, Digest: l.Digest, Size: l.Size, MediaType: l.MediaType}
		blobs[i] = layer.Blob{
			Digest: l.Digest, Size: l.Size, MediaType: l.MediaType, DiffID: l.DiffID,
			Open: func(context.Context) (io.ReadCloser, error) { return l.Open() },
		}
		if blobs[i].Digest == "" {
			blobs[i].Digest = l.DiffID
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return x.keepLayers(gctx, img, layers, tree != nil) })
	if tree == nil {
		// The files of one layer are read twice, once for each. The records
		// of what keepLayers finds are needed only when both are done.
		return x.unpackBeside(ctx, gctx, g, layers, blobs)
	}
	return tree, g.Wait()
}

// unpackBeside unpacks while g works, whose context is gctx, and stores the
// tree when g is done.
func (x *Exchange) unpackBeside(ctx, gctx context.Context, g *errgroup.Group, layers []storage.Layer, blobs []layer.Blob) (_ *storage.Tree, err error) {
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return nil, errors.Join(err, g.Wait())
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir, err := work.Sub("fs")
	if err != nil {
		return nil, errors.Join(err, g.Wait())
	}
	var u *layer.Unpacked
	g.Go(func() (err error) {
		u, err = x.unpackLayers(gctx, dir, blobs)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return x.commitLayers(ctx, dir, layers, u)
}

// keepLayers stores the layers as they are; those that the file has no digest
// of are compressed unless the tree is there, whose layers are known then.
func (x *Exchange) keepLayers(ctx context.Context, img *archive.Image, layers []storage.Layer, have bool) error {
	done := map[digest.Digest]storage.Layer{}
	for i, l := range img.Layers {
		switch known, ok := done[l.DiffID]; {
		case l.Digest != "":
			if err := x.keepBlob(ctx, l); err != nil {
				return err
			}
		case have:
		case ok:
			layers[i] = known
		default:
			kept, err := x.compressLayer(ctx, l)
			if err != nil {
				return fmt.Errorf("layer %s: %w", l.DiffID, err)
			}
			layers[i], done[l.DiffID] = kept, kept
		}
	}
	return nil
}

func (x *Exchange) keepBlob(ctx context.Context, l archive.Layer) error {
	r, err := l.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return x.store.PutBlob(ctx, l.Digest, l.Size, r)
}

// compressLayer stores a layer of which only the diff ID is known: compressed
// as it is, or now.
func (x *Exchange) compressLayer(ctx context.Context, l archive.Layer) (storage.Layer, error) {
	r, err := l.Open()
	if err != nil {
		return storage.Layer{}, err
	}
	defer r.Close()
	zr, c, err := layer.Decompress(r)
	if err != nil {
		return storage.Layer{}, err
	}
	defer zr.Close()
	if c == layer.Uncompressed {
		return x.pack(ctx, l.DiffID, Compression{Level: loadedLevel}, func(_ context.Context, w io.Writer) error {
			_, err := io.Copy(w, &cancelable{ctx, zr})
			return err
		})
	}
	again, err := l.Open()
	if err != nil {
		return storage.Layer{}, err
	}
	defer again.Close()
	out := storage.Layer{DiffID: l.DiffID, Size: l.Size}
	switch c {
	case layer.Gzip:
		out.MediaType = ociv1.MediaTypeImageLayerGzip
	case layer.Zstd:
		out.MediaType = ociv1.MediaTypeImageLayerZstd
	default:
		return out, fmt.Errorf("layers compressed with %v are no image's", c)
	}
	w, err := x.store.NewBlob(ctx, "", l.Size, storage.BlobOptions{})
	if err != nil {
		return out, err
	}
	defer w.Close()
	if _, err := io.Copy(w, &cancelable{ctx, again}); err != nil {
		return out, err
	}
	out.Digest, err = w.Commit()
	return out, err
}
