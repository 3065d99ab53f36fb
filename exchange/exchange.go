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
	// Yolo takes whatever platform the registry gives.
	Yolo     bool
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
		return x.refit(ctx, img)
	case !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrNotDurable):
		return nil, err
	}
	return x.Pull(ctx, ref, registry.Want{Platform: want, Yolo: x.opts.Yolo}, 0)
}

// refit returns img with a tree of the right flavor, unpacking its layers
// again if it was pulled with the other one.
func (x *Exchange) refit(ctx context.Context, img *storage.Image) (*storage.Image, error) {
	if len(img.Chain) != 1 {
		return img, nil
	}
	tree, err := x.store.Tree(img.Chain[0])
	if err != nil {
		return nil, err
	}
	ids := make([]digest.Digest, len(tree.Layers))
	for i, l := range tree.Layers {
		ids[i] = l.DiffID
	}
	if id := storage.BaseID(ids, x.flavor()); id == tree.ID || !tree.Base {
		return img, nil
	}
	again, err := x.unpackTree(ctx, tree.Layers, func(l storage.Layer) layer.Blob { return x.stored(l) })
	if err != nil {
		return nil, fmt.Errorf("image %s: unpack again with other owners: %w", img.Ref, err)
	}
	out := *img
	out.Chain = []storage.TreeID{again.ID}
	return &out, nil
}
