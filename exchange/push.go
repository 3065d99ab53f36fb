package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

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
	// Compression is that of layers which come from no registry.
	Compression Compression
	// Format is the manifest's: FormatOCI, FormatDocker, or "" for the
	// manifest that the image has, and OCI's if it has none.
	Format string
}

// The formats of manifests.
const (
	FormatOCI    = "oci"
	FormatDocker = "docker"
)

// Push sends an image to a registry under dest. An image that came from a
// registry goes as it came, byte for byte. Of any other, layers that came
// from a registry go as they came, the rest are packed, once. The first
// layers are on their way while others are packed.
func (x *Exchange) Push(ctx context.Context, img *storage.Image, dest image.Reference, opts PushOptions) (*registry.Pushed, error) {
	if err := x.store.Pin(ctx, img.Chain...); err != nil {
		return nil, fmt.Errorf("push %s: %w", img.Ref, err)
	}
	to, err := x.client.NewPusher(dest, registry.PushOptions{})
	if err != nil {
		return nil, err
	}
	known := x.origins(dest.Host)
	g, gctx := errgroup.WithContext(ctx)
	ready := func(u registry.Upload) registry.Upload {
		if from := known[u.Digest]; from != "" && from != dest.Path {
			u.From = []string{from}
		}
		g.Go(func() error { return to.Blob(gctx, u) })
		return u
	}
	var up *registry.Image
	g.Go(func() error {
		var err error
		if up, err = x.upload(gctx, img, opts, ready); err != nil {
			return fmt.Errorf("push %s: %w", img.Ref, err)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	p, err := to.Finish(ctx, *up)
	if err != nil {
		return nil, err
	}
	sent := make([]registry.Descriptor, len(up.Layers))
	for i, l := range up.Layers {
		sent[i] = l.Descriptor
	}
	x.sawAt(dest, sent)
	if img.Digest == "" && opts == (PushOptions{}) {
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

// upload makes the manifest; ready hears of each layer as soon as it can be
// sent.
func (x *Exchange) upload(ctx context.Context, img *storage.Image, opts PushOptions, ready func(registry.Upload) registry.Upload) (*registry.Image, error) {
	if opts.FlattenOwners {
		return x.flatUpload(ctx, img, opts, ready)
	}
	config, err := x.store.ReadBlob(img.ID)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var stored *ociv1.Manifest
	var manifest []byte
	if img.Digest != "" {
		manifest, err = x.store.ReadBlob(img.Digest)
		switch {
		case err == nil:
			if stored, err = parseManifest(manifest); err != nil {
				return nil, err
			}
		case !errors.Is(err, storage.ErrNotFound):
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	up := &registry.Image{Config: config}
	if stored != nil && opts.Compression == (Compression{}) && opts.keeps(stored.MediaType) {
		up.Manifest, up.MediaType = manifest, stored.MediaType
		for _, d := range stored.Layers {
			l := storage.Layer{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
			up.Layers = append(up.Layers, ready(x.blobUpload(l, x.packer(img, d.Digest))))
		}
		return up, nil
	}
	var layers []storage.Layer
	err = x.chainUploads(ctx, img.Chain, opts.Compression, func(l storage.Layer, u registry.Upload) {
		layers = append(layers, l)
		up.Layers = append(up.Layers, ready(u))
	})
	if err != nil {
		return nil, err
	}
	if stored != nil && opts.keeps(stored.MediaType) && sameLayers(stored.Layers, layers) {
		up.Manifest, up.MediaType = manifest, stored.MediaType
		return up, nil
	}
	return up, describeUpload(up, layers, opts.Format)
}

// keeps reports whether a manifest of that type will do.
func (o PushOptions) keeps(mediaType string) bool {
	return o.Format == "" || (o.Format == FormatDocker) == strings.HasPrefix(mediaType, "application/vnd.docker.")
}

func parseManifest(b []byte) (*ociv1.Manifest, error) {
	var m ociv1.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.MediaType == "" {
		m.MediaType = ociv1.MediaTypeImageManifest
	}
	return &m, nil
}

func sameLayers(a []ociv1.Descriptor, b []storage.Layer) bool {
	return slices.EqualFunc(a, b, func(d ociv1.Descriptor, l storage.Layer) bool { return d.Digest == l.Digest })
}

// packer returns how to make the blob of an image's layer again, or nil if
// that was not packed here.
func (x *Exchange) packer(img *storage.Image, d digest.Digest) func(context.Context) error {
	for _, id := range img.Chain {
		tree, err := x.store.Tree(id)
		if err != nil || !x.packable(tree) {
			continue
		}
		if l, ok := x.recall(tree.Layers[0].DiffID, Compression{}); ok && l.Digest == d {
			return func(ctx context.Context) error {
				_, err := x.packTree(ctx, tree, Compression{})
				return err
			}
		}
	}
	return nil
}

// describeUpload makes the manifest of layers (image-spec, manifest.md, or
// distribution's manifest schema 2). The same bytes have types in both
// formats; only zstd is OCI's alone.
func describeUpload(up *registry.Image, layers []storage.Layer, format string) error {
	m := ociv1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageManifest,
		Config: ociv1.Descriptor{MediaType: ociv1.MediaTypeImageConfig, Digest: digest.FromBytes(up.Config), Size: int64(len(up.Config))},
		Layers: []ociv1.Descriptor{},
	}
	if format == FormatDocker {
		m.MediaType, m.Config.MediaType = dockerManifest, dockerConfig
	}
	for i, l := range layers {
		t := layerType(l.MediaType, format)
		if t == "" {
			return fmt.Errorf("layer %d is %s, for which Docker's format has no name: push it as OCI", i+1, l.MediaType)
		}
		m.Layers = append(m.Layers, ociv1.Descriptor{MediaType: t, Digest: l.Digest, Size: l.Size})
	}
	var err error
	up.MediaType = m.MediaType
	up.Manifest, err = json.Marshal(m)
	return err
}

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
)

// layerTypes pairs the names of one thing.
var layerTypes = []struct{ docker, oci string }{
	{dockerLayer + ".gzip", ociv1.MediaTypeImageLayerGzip},
	{dockerLayer, ociv1.MediaTypeImageLayer},
	{dockerLayer + ".zstd", ociv1.MediaTypeImageLayerZstd},
}

// layerType is a layer's media type in a format, or "" if it has none.
func layerType(t, format string) string {
	for _, p := range layerTypes {
		switch {
		case t != p.docker && t != p.oci:
		case format != FormatDocker:
			return p.oci
		case p.oci == ociv1.MediaTypeImageLayerZstd:
			return ""
		default:
			return p.docker
		}
	}
	return t
}

// flatUpload is the image as one layer of root's files.
func (x *Exchange) flatUpload(ctx context.Context, img *storage.Image, opts PushOptions, ready func(registry.Upload) registry.Upload) (_ *registry.Image, err error) {
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
	l, err := x.pack(ctx, "", opts.Compression, func(ctx context.Context, w io.Writer) error {
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
	up := &registry.Image{Layers: []registry.Upload{ready(x.blobUpload(l, nil))}}
	if up.Config, err = config.Encode(); err != nil {
		return nil, err
	}
	return up, describeUpload(up, []storage.Layer{l}, opts.Format)
}

// PushDir pushes a directory as an image of one layer and keeps no image. The
// same files give the same digest.
func (x *Exchange) PushDir(ctx context.Context, dir string, dest image.Reference, opts PushOptions) (*registry.Pushed, error) {
	config, tree, err := x.importTree(ctx, dir, x.newest)
	if err != nil {
		return nil, fmt.Errorf("push %q: %w", dir, err)
	}
	img, err := x.describe(ctx, dest, config, tree)
	if err != nil {
		return nil, fmt.Errorf("push %q: %w", dir, err)
	}
	return x.Push(ctx, img, dest, opts)
}
