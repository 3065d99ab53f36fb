package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"virga/image"
	"virga/layer"
	"virga/registry"
	"virga/storage"
)

// Pull brings an image from its registry into storage, flattened into one
// tree. Layers are downloaded, verified and unpacked at once, and kept as
// they came. Two pulls of the same layers, of this process or others, share
// the work.
//
// last, if not 0, is the number of layers taken, from the bottom.
func (x *Exchange) Pull(ctx context.Context, ref image.Reference, want registry.Want, last int) (*storage.Image, error) {
	r, seen, err := x.resolve(ctx, ref, want)
	if err != nil {
		return nil, err
	}
	if err := cut(r, last); err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref, err)
	}
	tree, err := x.fetchTree(ctx, ref, r)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref, err)
	}
	img, err := x.keep(ctx, ref, r, tree, seen)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref, err)
	}
	x.sawAt(ref, r.Layers)
	return img, nil
}

// resolve finds an image in its registry, and the signatures that it must have.
// No layer is fetched before.
func (x *Exchange) resolve(ctx context.Context, ref image.Reference, want registry.Want) (*registry.Remote, []image.Verification, error) {
	demands, err := x.demands(ref)
	if err != nil {
		return nil, nil, err
	}
	r, err := x.client.Resolve(ctx, ref, want)
	if err != nil {
		return nil, nil, err
	}
	seen, err := x.admit(ctx, ref, digestsOf(r.Index.Digest, r.Descriptor.Digest), demands)
	return r, seen, err
}

// fetchTree returns the flattened tree of the image's layers, which are in
// storage then, as the registry has them.
func (x *Exchange) fetchTree(ctx context.Context, ref image.Reference, r *registry.Remote) (*storage.Tree, error) {
	layers := make([]storage.Layer, len(r.Layers))
	for i, d := range r.Layers {
		layers[i] = storage.Layer{DiffID: r.DiffIDs[i], Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
	}
	unlock, err := x.store.KeyLock(ctx, "pull-"+string(storage.BaseID(r.DiffIDs, x.flavor())))
	if err != nil {
		return nil, err
	}
	defer unlock()
	known, err := x.present(ctx, r.DiffIDs)
	if err != nil || known != nil && !slices.ContainsFunc(r.Layers, func(d registry.Descriptor) bool { return !x.have(ctx, d) }) {
		return known, err
	}
	g, gctx := errgroup.WithContext(ctx)
	src, err := x.download(gctx, g, ref, r)
	if err != nil {
		return nil, err
	}
	if known != nil { // the same files, compressed otherwise
		return known, g.Wait()
	}
	var tree *storage.Tree
	g.Go(func() (err error) {
		blobs := make([]layer.Blob, len(layers))
		for i, l := range layers {
			blobs[i] = src[l.Digest]
			blobs[i].DiffID = l.DiffID
		}
		tree, err = x.unpackTree(gctx, layers, blobs)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return tree, nil
}

// present returns the tree if it is in storage already.
func (x *Exchange) present(ctx context.Context, diffIDs []digest.Digest) (*storage.Tree, error) {
	if x.opts.AlwaysDownload {
		return nil, nil
	}
	id := storage.BaseID(diffIDs, x.flavor())
	if err := x.store.Pin(ctx, id); err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			return nil, nil
		}
		return nil, err
	}
	return x.store.Tree(id)
}

// download starts the transfer of the blobs that are not in storage, in g,
// and returns for every layer where its bytes can be read, from the first one
// on.
func (x *Exchange) download(ctx context.Context, g *errgroup.Group, ref image.Reference, r *registry.Remote) (map[digest.Digest]layer.Blob, error) {
	src := map[digest.Digest]layer.Blob{}
	writers := map[digest.Digest]*storage.BlobWriter{}
	var missing []registry.Descriptor
	for i, d := range r.Layers {
		if _, ok := src[d.Digest]; ok {
			continue
		}
		if !x.opts.AlwaysDownload && x.have(ctx, d) {
			src[d.Digest] = x.stored(storage.Layer{DiffID: r.DiffIDs[i], Digest: d.Digest, Size: d.Size, MediaType: d.MediaType})
			continue
		}
		w, err := x.store.NewBlob(ctx, d.Digest, d.Size, storage.BlobOptions{Verified: true})
		if err != nil {
			for _, w := range writers {
				w.Close()
			}
			return nil, err
		}
		writers[d.Digest] = w
		missing = append(missing, d)
		src[d.Digest] = layer.Blob{
			Digest: d.Digest, Size: d.Size, MediaType: d.MediaType, DiffID: r.DiffIDs[i],
			Open: func(context.Context) (io.ReadCloser, error) { return w.Reader() },
		}
	}
	g.Go(func() error { return x.transfer(ctx, ref, missing, writers) })
	return src, nil
}

// have reports whether a blob is in storage, and keeps it there.
func (x *Exchange) have(ctx context.Context, d registry.Descriptor) bool {
	if x.store.PinBlobs(ctx, d.Digest) != nil {
		return false
	}
	size, err := x.store.StatBlob(d.Digest)
	return err == nil && size == d.Size
}

// transferBuffer is what is read from a connection, hashed and written at a
// time: io.Copy's 32 KiB cost eight times as many calls and wake-ups of the
// layer's readers.
const transferBuffer = 256 << 10

// transfer fills the writers. Readers of what does not arrive get the error.
func (x *Exchange) transfer(ctx context.Context, ref image.Reference, missing []registry.Descriptor, writers map[digest.Digest]*storage.BlobWriter) error {
	err := x.client.Fetch(ctx, ref, missing, func(ctx context.Context, d registry.Descriptor, r io.Reader) error {
		w := writers[d.Digest]
		// Filled before it is written, which TLS, with 16 KiB at a time, does not do.
		buf := bufio.NewWriterSize(w, transferBuffer)
		_, err := buf.ReadFrom(r)
		if err == nil {
			err = buf.Flush()
		}
		if err != nil {
			w.Fail(err)
			return err
		}
		_, err = w.Commit()
		return err
	})
	for _, w := range writers {
		if err != nil {
			w.Fail(err)
		}
		w.Close()
	}
	return err
}

// stored reads a layer from storage.
func (x *Exchange) stored(l storage.Layer) layer.Blob {
	return layer.Blob{
		Digest: l.Digest, Size: l.Size, MediaType: l.MediaType, DiffID: l.DiffID,
		Open: func(context.Context) (io.ReadCloser, error) { return x.store.OpenBlob(l.Digest) },
	}
}

// unpackTree flattens blobs into the tree of the layers, which they hold.
func (x *Exchange) unpackTree(ctx context.Context, layers []storage.Layer, blobs []layer.Blob) (_ *storage.Tree, err error) {
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir, err := work.Sub("fs")
	if err != nil {
		return nil, err
	}
	u, err := x.unpackLayers(ctx, dir, blobs)
	if err != nil {
		return nil, err
	}
	return x.commitLayers(ctx, dir, layers, u)
}

func (x *Exchange) unpackLayers(ctx context.Context, dir string, blobs []layer.Blob) (*layer.Unpacked, error) {
	defer x.store.WriteBack()()
	u, err := layer.Unpack(ctx, dir, blobs, layer.Options{KeepOwners: x.opts.Real, Progress: x.opts.Progress, Logger: x.log})
	if err == nil {
		x.logFixes(u.Fixes)
	}
	return u, err
}

// commitLayers stores what unpackLayers made of layers.
func (x *Exchange) commitLayers(ctx context.Context, dir string, layers []storage.Layer, u *layer.Unpacked) (*storage.Tree, error) {
	return x.store.CommitTree(ctx, dir, storage.Tree{
		ID: storage.BaseID(diffIDs(layers), x.flavor()), Layers: layers, Base: true, Created: time.Now().UTC(), Bytes: u.Size,
	}, u.Owners)
}

// logFixes tells what of the archives an ordinary user cannot have.
func (x *Exchange) logFixes(f layer.Fixes) {
	if f.Devices > 0 {
		x.log.Info(fmt.Sprintf("ignored %d device files", f.Devices))
	}
	if f.Absolute > 0 {
		x.log.Info(fmt.Sprintf("made %d absolute names relative to the image", f.Absolute))
	}
	if f.Clamped > 0 {
		x.log.Warn(fmt.Sprintf("kept %d hard link targets inside the image", f.Clamped))
	}
	if f.Unnamed > 0 {
		x.log.Warn(fmt.Sprintf("skipped %d members without a name", f.Unnamed))
	}
}

// keep writes down manifest, configuration and image.
func (x *Exchange) keep(ctx context.Context, ref image.Reference, r *registry.Remote, tree *storage.Tree, seen []image.Verification) (*storage.Image, error) {
	for _, b := range [][]byte{r.Manifest, r.IndexManifest} {
		if b == nil {
			continue
		}
		if _, err := x.store.AddBlob(ctx, b); err != nil {
			return nil, err
		}
	}
	id, err := x.store.AddBlob(ctx, r.ConfigBytes)
	if err != nil {
		return nil, err
	}
	img := &storage.Image{
		Ref: ref.String(), ID: id, Digest: r.Descriptor.Digest, IndexDigest: r.Index.Digest,
		Chain: []storage.TreeID{tree.ID}, Platform: r.Platform, Size: tree.Bytes, Stored: time.Now().UTC(),
		Source: ref.String(), Verified: seen,
	}
	old, err := x.store.Image(ref)
	switch {
	case img.Digest == "": // cut: not what was signed
		img.Verified = nil
	case seen == nil && err == nil && old.Digest == img.Digest && old.IndexDigest == img.IndexDigest && old.Source == img.Source:
		img.Verified = old.Verified
	}
	if r.Config.Created != nil {
		img.Created = *r.Config.Created
	}
	return img, x.record(ctx, img)
}

// cut leaves the first n layers of r: an incomplete image, for debugging. It
// is no longer what the registry has, so it has no digest.
func cut(r *registry.Remote, n int) error {
	if n <= 0 || n >= len(r.Layers) {
		return nil
	}
	r.Layers, r.DiffIDs = r.Layers[:n], r.DiffIDs[:n]
	c := r.Config.Clone()
	c.RootFS.DiffIDs = r.DiffIDs
	full := 0
	for i, h := range c.History {
		if !h.EmptyLayer {
			full++
		}
		if full > n {
			c.History = c.History[:i]
			break
		}
	}
	var err error
	r.Config = c
	r.ConfigBytes, err = c.Encode()
	r.Manifest, r.IndexManifest = nil, nil
	r.Descriptor, r.Index = registry.Descriptor{}, registry.Descriptor{}
	return err
}

// PullTo unpacks an image from its registry into dir, which must be empty or
// not exist, and keeps nothing in storage. last is as for Pull.
func (x *Exchange) PullTo(ctx context.Context, ref image.Reference, want registry.Want, dir string, last int) error {
	r, _, err := x.resolve(ctx, ref, want)
	if err != nil {
		return err
	}
	if err := cut(r, last); err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	done, err := makeEmpty(dir)
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	blobs := make([]layer.Blob, len(r.Layers))
	for i, d := range r.Layers {
		blobs[i] = layer.Blob{
			Digest: d.Digest, Size: d.Size, MediaType: d.MediaType, DiffID: r.DiffIDs[i],
			Open: func(ctx context.Context) (io.ReadCloser, error) { return x.client.Blob(ctx, ref, d) },
		}
	}
	u, err := layer.Unpack(ctx, dir, blobs, layer.Options{KeepOwners: x.opts.Real, Progress: x.opts.Progress, Logger: x.log})
	if err == nil && !x.opts.Real {
		err = withoutRecords(dir, u)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("pull %s: %w", ref, err), done(ctx))
	}
	x.logFixes(u.Fixes)
	return nil
}

// withoutRecords makes an unpacked directory one that stands for itself:
// owners are in attributes, and the empty files that stand for devices go.
func withoutRecords(dir string, u *layer.Unpacked) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range u.Owners.Paths() {
		if u.Owners[name].Type == 0 {
			continue
		}
		if err := root.Remove(name); err != nil {
			return err
		}
		u.Devices++
	}
	return layer.WriteRootless(dir, u.Owners)
}

// makeEmpty sees to it that dir is an empty directory. undo takes back what
// was put in it since, and dir itself if it was made.
func makeEmpty(dir string) (undo func(context.Context) error, err error) {
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return storage.RemoveTree(context.WithoutCancel(ctx), dir) }, nil
	case err != nil:
		return nil, err
	case len(names) > 0:
		return nil, fmt.Errorf("directory %q: not empty", dir)
	}
	return func(ctx context.Context) error {
		names, err := os.ReadDir(dir)
		for _, n := range names {
			err = errors.Join(err, storage.RemoveTree(context.WithoutCancel(ctx), dir+"/"+n.Name()))
		}
		return err
	}, nil
}
