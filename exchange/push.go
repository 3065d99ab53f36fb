package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
	"virga/layer"
	"virga/registry"
	"virga/storage"
)

// PushOptions tune Push. The zero value keeps owners and compresses with gzip.
type PushOptions struct {
	// FlattenOwners makes the image one layer in which everything is
	// root:root without set-id bits, as ch-image pushes.
	FlattenOwners bool
}

// Push sends an image to a registry under dest. An image that came from a
// registry goes as it came, byte for byte. Of any other, layers that came
// from a registry go as they came, the rest are packed, once.
func (x *Exchange) Push(ctx context.Context, img *storage.Image, dest image.Reference, opts PushOptions) (*registry.Pushed, error) {
	if err := x.store.Pin(ctx, img.Chain...); err != nil {
		return nil, fmt.Errorf("push %s: %w", img.Ref, err)
	}
	up, err := x.upload(ctx, img, opts)
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", img.Ref, err)
	}
	p, err := x.client.Push(ctx, dest, *up, registry.PushOptions{})
	if err != nil {
		return nil, err
	}
	if img.Digest == "" && !opts.FlattenOwners {
		return p, x.remember(ctx, img, up.Manifest)
	}
	return p, nil
}

// remember keeps the manifest of an image pushed for the first time, so that
// its digest is known.
func (x *Exchange) remember(ctx context.Context, img *storage.Image, manifest []byte) error {
	ref, err := image.ParseReference(img.Ref)
	if err != nil {
		return err
	}
	now, err := x.store.Image(ref)
	if err != nil || now.ID != img.ID {
		return nil // renamed or replaced meanwhile, or never stored
	}
	if now.Digest, err = x.store.AddBlob(ctx, manifest); err != nil {
		return err
	}
	return x.store.PutImage(ctx, *now)
}

func (x *Exchange) upload(ctx context.Context, img *storage.Image, opts PushOptions) (*registry.Image, error) {
	if opts.FlattenOwners {
		return x.flatUpload(ctx, img)
	}
	config, err := x.store.ReadBlob(img.ID)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if img.Digest != "" {
		manifest, err := x.store.ReadBlob(img.Digest)
		if err == nil {
			return x.asItCame(manifest, config)
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	var layers []storage.Layer
	for _, id := range img.Chain {
		l, err := x.packed(ctx, id)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l...)
	}
	return x.newUpload(config, layers)
}

// asItCame is the upload of an image whose manifest is in storage.
func (x *Exchange) asItCame(manifest, config []byte) (*registry.Image, error) {
	var m ociv1.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	up := &registry.Image{Manifest: manifest, MediaType: m.MediaType, Config: config}
	if up.MediaType == "" {
		up.MediaType = ociv1.MediaTypeImageManifest
	}
	for _, d := range m.Layers {
		up.Layers = append(up.Layers, x.blobUpload(registry.Descriptor{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}))
	}
	return up, nil
}

func (x *Exchange) blobUpload(d registry.Descriptor) registry.Upload {
	return registry.Upload{Descriptor: d, Open: func(context.Context) (io.ReadCloser, error) { return x.store.OpenBlob(d.Digest) }}
}

// newUpload makes an OCI manifest (image-spec, manifest.md). A layer that came
// with Docker's media type has the same bytes under OCI's.
func (x *Exchange) newUpload(config []byte, layers []storage.Layer) (*registry.Image, error) {
	m := ociv1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageManifest,
		Config: ociv1.Descriptor{MediaType: ociv1.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers: []ociv1.Descriptor{},
	}
	up := &registry.Image{MediaType: m.MediaType, Config: config}
	for _, l := range layers {
		d := registry.Descriptor{Digest: l.Digest, Size: l.Size, MediaType: ociMediaType(l.MediaType)}
		m.Layers = append(m.Layers, ociv1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		up.Layers = append(up.Layers, x.blobUpload(d))
	}
	var err error
	up.Manifest, err = json.Marshal(m)
	return up, err
}

func ociMediaType(t string) string {
	switch t {
	case "application/vnd.docker.image.rootfs.diff.tar.gzip":
		return ociv1.MediaTypeImageLayerGzip
	case "application/vnd.docker.image.rootfs.diff.tar":
		return ociv1.MediaTypeImageLayer
	case "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return ociv1.MediaTypeImageLayerZstd
	}
	return t
}

// packed returns the layers of a tree, packing it if that was not done yet.
func (x *Exchange) packed(ctx context.Context, id storage.TreeID) ([]storage.Layer, error) {
	tree, err := x.store.Tree(id)
	if err != nil {
		return nil, err
	}
	missing := false
	for _, l := range tree.Layers {
		if l.Digest == "" {
			missing = true
		} else if _, err := x.store.StatBlob(l.Digest); err != nil && len(tree.Layers) == 1 && !tree.Base {
			missing = true // packed before and removed since: the same bytes again
		}
	}
	if !missing {
		return tree.Layers, nil
	}
	if len(tree.Layers) != 1 {
		return nil, fmt.Errorf("BUG: tree %s has %d layers and not all are packed", id, len(tree.Layers))
	}
	owners, err := x.store.Owners(id)
	if err != nil {
		return nil, err
	}
	l, err := x.pack(ctx, tree.Layers[0].DiffID, func(ctx context.Context, w io.Writer) error {
		return layer.Pack(ctx, w, x.store.TreePath(id), owners, layer.PackOptions{Whiteouts: !tree.Base, Logger: x.log})
	})
	if err != nil {
		return nil, err
	}
	return []storage.Layer{l}, x.store.SetLayer(ctx, id, l)
}

// pack stores a layer's compressed bytes. want is its diff ID if that is
// known: a tree that has changed since is not pushed under it.
func (x *Exchange) pack(ctx context.Context, want digest.Digest, write func(context.Context, io.Writer) error) (storage.Layer, error) {
	return x.packAt(ctx, 0, want, write)
}

// packAt is pack with a level of compression.
func (x *Exchange) packAt(ctx context.Context, level int, want digest.Digest, write func(context.Context, io.Writer) error) (storage.Layer, error) {
	blob, err := x.store.NewBlob(ctx, "", -1, storage.BlobOptions{})
	if err != nil {
		return storage.Layer{}, err
	}
	defer blob.Close()
	gz, err := layer.Compress(blob, layer.Gzip, level)
	if err != nil {
		return storage.Layer{}, err
	}
	sum := digest.SHA256.Digester()
	err = write(ctx, io.MultiWriter(gz, sum.Hash()))
	if cerr := gz.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		blob.Fail(err)
		return storage.Layer{}, fmt.Errorf("pack layer: %w", err)
	}
	l := storage.Layer{DiffID: sum.Digest(), MediaType: ociv1.MediaTypeImageLayerGzip}
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

// flatUpload is the image as one layer of root's files.
func (x *Exchange) flatUpload(ctx context.Context, img *storage.Image) (_ *registry.Image, err error) {
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir, err := work.Sub("flat")
	if err != nil {
		return nil, err
	}
	owners, err := x.Flatten(ctx, dir, img.Chain)
	if err != nil {
		return nil, err
	}
	l, err := x.pack(ctx, "", func(ctx context.Context, w io.Writer) error {
		return layer.Pack(ctx, w, dir, owners, layer.PackOptions{FlattenOwners: true, Logger: x.log})
	})
	if err != nil {
		return nil, err
	}
	config, err := x.store.Config(img)
	if err != nil {
		return nil, err
	}
	config.RootFS.DiffIDs = []digest.Digest{l.DiffID}
	for i := range config.History {
		config.History[i].EmptyLayer = true
	}
	config.History = append(config.History, image.History{Created: config.Created, CreatedBy: "FLATTEN", Comment: "virga"})
	raw, err := config.Encode()
	if err != nil {
		return nil, err
	}
	return x.newUpload(raw, []storage.Layer{l})
}

// PushDir pushes a directory as an image of one layer and keeps no image.
func (x *Exchange) PushDir(ctx context.Context, dir string, dest image.Reference, opts PushOptions) (*registry.Pushed, error) {
	config, tree, err := x.importTree(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("push %q: %w", dir, err)
	}
	img, err := x.describe(ctx, dest, config, tree)
	if err != nil {
		return nil, fmt.Errorf("push %q: %w", dir, err)
	}
	return x.Push(ctx, img, dest, opts)
}
