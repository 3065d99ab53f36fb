package exchange

import (
	"context"
	"errors"
	"fmt"

	"virga/storage"
)

// MakeFlat keeps an image as one tree besides its chain, for other tools and
// where chains cannot be mounted.
func (x *Exchange) MakeFlat(ctx context.Context, img *storage.Image) error {
	id, err := x.flatTree(ctx, img)
	if err == nil {
		img.Flat = id
		if err = x.store.Sync(ctx); err == nil {
			err = x.store.PutImage(ctx, *img)
		}
	}
	if err != nil {
		return fmt.Errorf("flatten %s: %w", img.Ref, err)
	}
	return nil
}

func (x *Exchange) flatTree(ctx context.Context, img *storage.Image) (_ storage.TreeID, err error) {
	var layers []storage.Layer
	var size int64
	for _, id := range img.Chain {
		t, err := x.store.Tree(id)
		if err != nil {
			return "", err
		}
		layers, size = append(layers, t.Layers...), size+t.Bytes
	}
	id := storage.BaseID(diffIDs(layers), x.flavor())
	if x.store.Pin(ctx, id) == nil {
		return id, nil
	}
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir, err := work.Sub("flat")
	if err != nil {
		return "", err
	}
	owners, err := x.Flatten(ctx, dir, img.Chain)
	if err != nil {
		return "", err
	}
	_, err = x.store.CommitTree(ctx, dir, storage.Tree{ID: id, Base: true, Layers: layers, Created: img.Created, Bytes: size}, owners)
	return id, err
}
