// Package exchange moves images in and out of storage: pulled from and pushed
// to registries, imported from directories and archives, unpacked for other
// tools. It composes registry, layer and storage and adds the order of things:
// nothing is recorded before every digest matched, and what fails half-way
// leaves nothing.
//
//	x := exchange.New(store, client, exchange.Options{})
//	img, err := x.Pull(ctx, ref, registry.Want{Platform: image.Host()})
package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
	"virga/layer"
	"virga/registry"
	"virga/storage"
)

// Options tune an Exchange. The zero value works.
type Options struct {
	// Real keeps owners, devices and attributes on disk. It needs real root.
	Real bool
	// AlwaysDownload ignores blobs and trees that are in storage.
	AlwaysDownload bool
	// PullBases asks the registry for every image a build names, also if it
	// is in storage (build --pull).
	PullBases bool
	// Epoch is the creation time of imported images; nil: now.
	Epoch *time.Time
	// Yolo takes whatever platform the registry gives.
	Yolo bool
	// Trust is what images of registries must fulfil.
	Trust    Trust
	Progress layer.Progress // of unpacking; nil: none
	Log      *slog.Logger   // nil: silent
}

// Exchange moves images. It is safe for concurrent use.
type Exchange struct {
	store  *storage.Store
	client *registry.Client // nil if no registry is to be asked
	opts   Options
	log    *slog.Logger
}

// New returns an Exchange between a storage directory and registries.
func New(store *storage.Store, client *registry.Client, opts Options) *Exchange {
	x := &Exchange{store: store, client: client, opts: opts, log: opts.Log}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	return x
}

// flavor tells trees with real owners from those of ordinary users.
func (x *Exchange) flavor() string {
	if x.opts.Real {
		return "real"
	}
	return ""
}

// Base finds the image that a build names: in storage, for the platform
// wanted, else in the registry.
func (x *Exchange) Base(ctx context.Context, ref image.Reference, want image.Platform) (*storage.Image, error) {
	if x.opts.PullBases {
		return x.Pull(ctx, ref, registry.Want{Platform: want, Yolo: x.opts.Yolo}, 0)
	}
	img, err := x.store.Image(ref)
	switch {
	case err == nil && !x.opts.Yolo && !want.Matches(img.Platform):
		x.log.Info("image in storage is for another platform, asking the registry", "image", ref.String(), "have", img.Platform.String(), "want", want.String())
	case err == nil:
		err := x.admitStored(ctx, img)
		if only := (*unsignableError)(nil); errors.As(err, &only) && img.Source == ref.String() {
			break // the manifest that is signed is no longer here
		}
		if err != nil {
			return nil, err
		}
		return x.refit(ctx, img)
	case !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrNotDurable):
		return nil, err
	}
	return x.Pull(ctx, ref, registry.Want{Platform: want, Yolo: x.opts.Yolo}, 0)
}

// refit returns img with a tree of the right flavor. Trees of the other one
// are unpacked again: from the layers as they came if those are in storage,
// which know of devices that an ordinary user's tree has not, else as they
// would be packed now.
func (x *Exchange) refit(ctx context.Context, img *storage.Image) (*storage.Image, error) {
	var layers []storage.Layer
	for i, id := range img.Chain {
		tree, err := x.store.Tree(id)
		if err != nil {
			return nil, err
		}
		if i == 0 && (!tree.Base || tree.ID == storage.BaseID(diffIDs(tree.Layers), x.flavor())) {
			return img, nil
		}
		layers = append(layers, tree.Layers...)
	}
	tree, err := x.present(ctx, diffIDs(layers))
	if err == nil && tree == nil {
		tree, err = x.unpackAgain(ctx, img, layers)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: unpack again with other owners: %w", img.Ref, err)
	}
	out := *img
	out.Chain = []storage.TreeID{tree.ID}
	return &out, nil
}

func (x *Exchange) unpackAgain(ctx context.Context, img *storage.Image, layers []storage.Layer) (*storage.Tree, error) {
	blobs := make([]layer.Blob, len(layers))
	for i, l := range layers {
		blobs[i] = x.stored(l)
		if l.Digest == "" {
			return x.repack(ctx, img, layers)
		}
		if _, err := x.store.StatBlob(l.Digest); err != nil {
			return x.repack(ctx, img, layers)
		}
	}
	return x.unpackTree(ctx, layers, blobs)
}

func (x *Exchange) repack(ctx context.Context, img *storage.Image, layers []storage.Layer) (*storage.Tree, error) {
	blobs, err := x.packing(img.Chain)
	if err != nil {
		return nil, err
	}
	return x.unpackTree(ctx, layers, blobs)
}

func diffIDs(layers []storage.Layer) []digest.Digest {
	ids := make([]digest.Digest, len(layers))
	for i, l := range layers {
		ids[i] = l.DiffID
	}
	return ids
}
