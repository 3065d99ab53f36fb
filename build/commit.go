package build

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
	"virga/storage"
)

// commit writes down the image of a finished stage, under every tag.
func (b *builder) commit(ctx context.Context, s *stage) (*storage.Image, error) {
	if len(s.chain) == 0 {
		if err := s.emptyTree(ctx); err != nil {
			return nil, err
		}
	}
	if err := b.fetch(ctx, s.chain); err != nil {
		return nil, err
	}
	if b.Squash {
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
		if err := s.squash(ctx); err != nil {
			return nil, err
		}
	}
	layers, size, err := b.layers(s.chain)
	if err != nil {
		return nil, err
	}
	config := s.finalConfig(layers)
	raw, err := config.Encode()
	if err != nil {
		return nil, err
	}
	img := storage.Image{Chain: s.chain, Platform: config.Platform(), Size: size, Stored: time.Now().UTC()}
	if config.Created != nil {
		img.Created = *config.Created
	}
	if len(s.chain) > 1 && (b.Flat || !b.overlayWorks(ctx)) {
		if img.Flat, err = b.flatTree(ctx, s, layers, size); err != nil {
			return nil, err
		}
	}
	if img.ID, err = b.store.AddBlob(ctx, raw); err != nil {
		return nil, err
	}
	if img.Provenance, err = b.provenance(ctx); err != nil {
		return nil, err
	}
	if err := b.store.Sync(ctx); err != nil {
		return nil, err
	}
	for _, tag := range slices.Backward(b.Tags) {
		img.Ref = tag.String()
		if err := b.store.PutImage(ctx, img); err != nil {
			return nil, err
		}
	}
	return &img, nil
}

// emptyTree gives an image that is only a configuration (FROM scratch, LABEL)
// a tree without layers, to be run and built on like any other.
func (s *stage) emptyTree(ctx context.Context) error {
	dir, err := s.b.work.Sub("nothing")
	if err != nil {
		return err
	}
	tree, err := s.b.store.CommitTree(ctx, dir, storage.Tree{ID: storage.BaseID(nil, ""), Base: true, Created: s.b.now()}, nil)
	if err != nil {
		return err
	}
	s.chain = []storage.TreeID{tree.ID}
	return nil
}

// finalConfig is the configuration as it is stored.
func (s *stage) finalConfig(layers []storage.Layer) *image.Config {
	c := s.config.Clone()
	c.Config = s.set.RunConfig
	for k, v := range s.b.Labels {
		setKey(&c.Config.Labels, k, v)
	}
	c.RootFS = image.RootFS{Type: "layers", DiffIDs: make([]digest.Digest, len(layers))}
	for i, l := range layers {
		c.RootFS.DiffIDs[i] = l.DiffID
	}
	if !s.when.IsZero() {
		t := s.when.UTC()
		c.Created = &t
	}
	return c
}

// layers lists the layers of a chain, and the bytes of all of them
// uncompressed.
func (b *builder) layers(chain []storage.TreeID) (layers []storage.Layer, size int64, err error) {
	for _, id := range chain {
		tree, err := b.store.Tree(id)
		if err != nil {
			return nil, 0, err
		}
		layers = append(layers, tree.Layers...)
		size += tree.Bytes
	}
	return layers, size, nil
}
