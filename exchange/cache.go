package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"virga/fakeroot"
	"virga/image"
	"virga/layer"
	"virga/storage"
)

// CachePlace is where states are left and found: a repository's tag, or a
// directory that is an OCI image layout.
type CachePlace struct {
	Ref image.Reference // if Dir is ""
	Dir string
	// All leaves the states of all stages, not only those of the image.
	All bool
}

// String names the place for messages.
func (p CachePlace) String() string {
	if p.Dir != "" {
		return p.Dir
	}
	return p.Ref.String()
}

// Cache is the build cache of other machines. Nothing that is wrong with it
// is an error: a place that cannot be read, or holds what it should not, is
// told of once and not asked again.
//
// Everything is compared with its digest. That a key leads to the right files
// is what whoever may write to the place is trusted for, as with an image.
type Cache struct {
	x    *Exchange
	log  *slog.Logger
	from []*cacheSource
	to   []CachePlace

	mu    sync.Mutex
	found map[storage.TreeID]foundLayer
}

// foundLayer is a layer that a source has.
type foundLayer struct {
	src   *cacheSource
	layer storage.Layer
}

// NewCache returns a Cache that is read from and written to the given places.
func (x *Exchange) NewCache(from, to []CachePlace) *Cache {
	c := &Cache{x: x, log: x.log, to: to, found: map[storage.TreeID]foundLayer{}}
	for _, p := range from {
		c.from = append(c.from, &cacheSource{x: x, place: p})
	}
	return c
}

// Find returns what the first place that knows a key says of it, or nil. The
// places are asked for their indexes when the first key is looked for.
func (c *Cache) Find(ctx context.Context, key string) *storage.State {
	for _, src := range c.from {
		states, err := src.index(ctx)
		if err != nil && ctx.Err() == nil {
			c.drop(src, err)
		}
		f, ok := states[key]
		if !ok {
			continue
		}
		st := f.state
		if f.layer.Digest != "" {
			id := c.treeID(&f)
			st.Chain = []storage.TreeID{id}
			c.mu.Lock()
			c.found[id] = foundLayer{src, f.layer}
			c.mu.Unlock()
		}
		return &st
	}
	return nil
}

// drop gives up a place, and tells so once.
func (c *Cache) drop(src *cacheSource, err error) {
	if src.drop() {
		c.log.Warn("cache not used", "from", src.place.String(), "cause", err)
	}
}

// treeID names the tree of a fetched state: the same state, fetched twice, is
// one tree, and never one that was made here.
func (c *Cache) treeID(f *cachedState) storage.TreeID {
	h := sha256.Sum256(fmt.Appendf(nil, "virga fetched tree 1\n%s\n%s\n%s\n", c.x.flavor(), f.state.Key, f.layer.DiffID))
	return storage.TreeID(hex.EncodeToString(h[:16]))
}

// Fetch brings the trees of states into storage, bottom first; see
// build.Cache. Layers are downloaded side by side and unpacked one after the
// other, because what a layer deletes is told by the records below it.
func (c *Cache) Fetch(ctx context.Context, states []storage.State, below []storage.TreeID, lower fakeroot.Table) error {
	unlock, err := c.x.store.KeyLock(ctx, "fetch-"+states[len(states)-1].Key)
	if err != nil {
		return err
	}
	defer unlock()
	wanted := map[*cacheSource][]storage.Layer{}
	var missing []storage.TreeID
	for _, st := range states {
		for _, id := range st.Chain {
			c.mu.Lock()
			f := c.found[id]
			c.mu.Unlock()
			if err := c.x.store.Pin(ctx, id); err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			} else if err == nil {
				continue
			}
			missing = append(missing, id)
			wanted[f.src] = append(wanted[f.src], f.layer)
		}
	}
	for src, layers := range wanted {
		if err := src.download(ctx, layers); err != nil {
			c.drop(src, err)
			return err
		}
	}
	for _, id := range missing {
		f := c.found[id]
		owners, err := c.unpack(ctx, id, f.layer, below, lower)
		if err != nil {
			if ctx.Err() == nil {
				c.drop(f.src, err)
			}
			return err
		}
		below, lower = append(below[:len(below):len(below)], id), fakeroot.Merge(lower, owners)
	}
	return nil
}

// unpack makes a tree of a layer whose blob is in storage.
func (c *Cache) unpack(ctx context.Context, id storage.TreeID, l storage.Layer, below []storage.TreeID, lower fakeroot.Table) (_ fakeroot.Table, err error) {
	work, err := c.x.store.NewWork(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir, err := work.Sub("fs")
	if err != nil {
		return nil, err
	}
	// The root directory is no member of a layer. It is that of the tree below.
	mode := os.FileMode(0o755)
	if n := len(below); n > 0 {
		fi, err := os.Stat(c.x.store.TreePath(below[n-1]))
		if err != nil {
			return nil, err
		}
		mode = fi.Mode()
	}
	if err := os.Chmod(dir, mode); err != nil {
		return nil, err
	}
	u, err := layer.UnpackChange(ctx, dir, c.x.stored(l), layer.Options{KeepOwners: c.x.opts.Real, Logger: c.log})
	if err != nil {
		return nil, err
	}
	u.Owners.Shadow(lower, u.Fate)
	tree, err := c.x.store.CommitTree(ctx, dir, storage.Tree{ID: id, Layers: []storage.Layer{l}, Bytes: u.Size}, u.Owners)
	if err != nil {
		return nil, err
	}
	return c.x.store.Owners(tree.ID)
}

// Store leaves the states of a build in the places for it: those of the
// image, or all. A place that cannot be written to is told of.
func (c *Cache) Store(ctx context.Context, states, all []storage.State) error {
	for _, to := range c.to {
		list := states
		if to.All {
			list = all
		}
		err := c.leave(ctx, to, list)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.log.Warn("cache not written", "to", to.String(), "cause", err)
			continue
		}
		c.log.Info(fmt.Sprintf("cache: %d states left in %s", len(list), to))
	}
	return nil
}
