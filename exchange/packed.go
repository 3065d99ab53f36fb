package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/layer"
	"virga/registry"
	"virga/storage"
)

// Compression says how layers are packed that no registry knows yet. The zero
// value is gzip at its default level.
type Compression struct {
	Type  string // gzip, zstd, none; "" is gzip
	Level int    // 0: the default of Type
}

// ParseCompression reads TYPE[:LEVEL].
func ParseCompression(s string) (Compression, error) {
	var c Compression
	var level string
	var ok bool
	c.Type, level, ok = strings.Cut(s, ":")
	most := map[string]int{"gzip": 9, "zstd": 22, "none": 0}
	top, known := most[c.Type]
	if !known {
		return c, fmt.Errorf("compression %q is not gzip, zstd or none", s)
	}
	if !ok {
		return c, nil
	}
	if top == 0 {
		return c, fmt.Errorf("compression %q: none has no levels", s)
	}
	var err error
	if c.Level, err = strconv.Atoi(level); err != nil || c.Level < 1 || c.Level > top {
		return c, fmt.Errorf("compression %q: the levels of %s are 1 to %d", s, c.Type, top)
	}
	return c, nil
}

// effective is the layer package's word for it.
func (c Compression) effective() layer.Compression {
	switch c.Type {
	case "zstd":
		return layer.Zstd
	case "none":
		return layer.Uncompressed
	}
	return layer.Gzip
}

func (c Compression) mediaType() string {
	switch c.effective() {
	case layer.Zstd:
		return ociv1.MediaTypeImageLayerZstd
	case layer.Uncompressed:
		return ociv1.MediaTypeImageLayer
	}
	return ociv1.MediaTypeImageLayerGzip
}

// note is the name of the note that a layer was packed like this.
func (c Compression) note(diffID digest.Digest) string {
	return fmt.Sprintf("packed-%s-%v-%d", diffID.Encoded(), c.effective(), c.Level)
}

// recall returns the layer as it was packed before, here, if it was. The blob
// may be gone.
func (x *Exchange) recall(diffID digest.Digest, c Compression) (l storage.Layer, ok bool) {
	b, err := os.ReadFile(x.store.NotePath(c.note(diffID)))
	if err != nil || json.Unmarshal(b, &l) != nil || l.DiffID != diffID || l.Digest.Validate() != nil {
		return storage.Layer{}, false
	}
	return l, true
}

// note remembers how a layer was packed; it costs only time when that fails.
func (x *Exchange) note(l storage.Layer, c Compression) {
	b, err := json.Marshal(l)
	if err == nil {
		err = writeNote(x.store.NotePath(c.note(l.DiffID)), b)
	}
	if err != nil {
		x.log.Debug("packed layer not noted", "layer", l.DiffID, "cause", err)
	}
}

// writeNote replaces a note in one step.
func writeNote(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".note*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// chainUploads calls use for each layer of a chain, bottom first, as soon as
// its digest is known. Layers that came from a registry go as they came,
// others packed with c.
func (x *Exchange) chainUploads(ctx context.Context, chain []storage.TreeID, c Compression, use func(storage.Layer, registry.Upload)) error {
	for _, id := range chain {
		tree, err := x.store.Tree(id)
		if err != nil {
			return err
		}
		if !x.packable(tree) {
			for _, l := range tree.Layers {
				if l.Digest == "" {
					return fmt.Errorf("BUG: tree %s has %d layers and not all are packed", id, len(tree.Layers))
				}
				use(l, x.blobUpload(l, nil))
			}
			continue
		}
		l, again, err := x.packedAs(ctx, tree, c)
		if err != nil {
			return err
		}
		use(l, x.blobUpload(l, again))
	}
	return nil
}

// packable reports whether a tree is a layer that was, or will be, packed
// here.
func (x *Exchange) packable(t *storage.Tree) bool {
	if len(t.Layers) != 1 {
		return false
	}
	if !t.Base || t.Layers[0].Digest == "" {
		return true
	}
	_, here := x.recall(t.Layers[0].DiffID, Compression{})
	return here
}

// packedAs returns the layer of a tree, packed like c, and how to pack it
// again should its blob be gone when it is needed. A registry that has the
// layer is never sent it, so it need not be here.
func (x *Exchange) packedAs(ctx context.Context, tree *storage.Tree, c Compression) (storage.Layer, func(context.Context) error, error) {
	was := tree.Layers[0]
	l, ok := x.recall(was.DiffID, c)
	if !ok && was.Digest != "" && c == (Compression{}) {
		l, ok = was, true
	}
	again := func(ctx context.Context) error {
		got, err := x.packTree(ctx, tree, c)
		if err == nil && got.Digest != l.Digest {
			err = fmt.Errorf("layer %s: packed anew it is %s", l.Digest, got.Digest)
		}
		return err
	}
	if ok {
		return l, again, nil
	}
	l, err := x.packTree(ctx, tree, c)
	return l, again, err
}

// packTree packs a tree of one layer and remembers it.
func (x *Exchange) packTree(ctx context.Context, tree *storage.Tree, c Compression) (storage.Layer, error) {
	owners, err := x.store.Owners(tree.ID)
	if err != nil {
		return storage.Layer{}, err
	}
	l, err := x.pack(ctx, tree.Layers[0].DiffID, c, func(ctx context.Context, w io.Writer) error {
		return layer.Pack(ctx, w, x.store.TreePath(tree.ID), owners, layer.PackOptions{Whiteouts: !tree.Base, Logger: x.log})
	})
	if err != nil {
		return l, err
	}
	x.note(l, c)
	if c == (Compression{}) {
		err = x.store.SetLayer(ctx, tree.ID, l)
	}
	return l, err
}

// pack stores a layer's compressed bytes. want is its diff ID if that is
// known: a tree that has changed since is not pushed under it.
func (x *Exchange) pack(ctx context.Context, want digest.Digest, c Compression, write func(context.Context, io.Writer) error) (storage.Layer, error) {
	blob, err := x.store.NewBlob(ctx, "", -1, storage.BlobOptions{})
	if err != nil {
		return storage.Layer{}, err
	}
	defer blob.Close()
	zw, err := layer.Compress(blob, c.effective(), c.Level)
	if err != nil {
		return storage.Layer{}, err
	}
	sum := digest.SHA256.Digester()
	err = write(ctx, io.MultiWriter(zw, sum.Hash()))
	if cerr := zw.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		blob.Fail(err)
		return storage.Layer{}, fmt.Errorf("pack layer: %w", err)
	}
	l := storage.Layer{DiffID: sum.Digest(), MediaType: c.mediaType()}
	if want != "" && l.DiffID != want {
		err := fmt.Errorf("pack layer: its files are not those that were stored: diff ID %s, was %s", l.DiffID, want)
		blob.Fail(err)
		return storage.Layer{}, err
	}
	if l.Digest, err = blob.Commit(); err != nil {
		return storage.Layer{}, err
	}
	l.Size, err = x.store.StatBlob(l.Digest)
	return l, err
}

// blobUpload is a layer to be pushed from storage. again, if there is one,
// makes the blob when it is not there.
func (x *Exchange) blobUpload(l storage.Layer, again func(context.Context) error) registry.Upload {
	return registry.Upload{
		Descriptor: registry.Descriptor{Digest: l.Digest, Size: l.Size, MediaType: l.MediaType},
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			f, err := x.store.OpenBlob(l.Digest)
			var missing *storage.MissingError
			if again == nil || !errors.As(err, &missing) {
				return f, err
			}
			if err := again(ctx); err != nil {
				return nil, err
			}
			return x.store.OpenBlob(l.Digest)
		},
	}
}
