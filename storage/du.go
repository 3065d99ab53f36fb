package storage

import (
	"context"
	"fmt"
	"os"
)

// Usage is what the storage directory takes on disk.
type Usage struct {
	Images Item // records; the trees and blobs of images count below
	Trees  Item
	Blobs  Item
	States Item
	Mounts Item
	Work   Item // in progress
}

// Item is one kind of contents.
type Item struct {
	Count       int
	Bytes       int64
	Reclaimable int64 // of Bytes: what a Collect with All, ResetCache and Mounts would free
}

// Total returns the sum of all kinds.
func (u *Usage) Total() (bytes, reclaimable int64) {
	for _, i := range []Item{u.Images, u.Trees, u.Blobs, u.States, u.Mounts, u.Work} {
		bytes += i.Bytes
		reclaimable += i.Reclaimable
	}
	return bytes, reclaimable
}

// Du measures the storage directory. Trees are not walked: their sizes were
// noted when they were made.
func (s *Store) Du(ctx context.Context) (*Usage, error) {
	c, err := s.scan(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("measure storage: %w", err)
	}
	r := s.fixedRefs(c)
	u := &Usage{Images: Item{Count: len(c.images)}}
	for id, t := range c.trees {
		u.Trees.add(t.bytes, r.trees[id] == 0)
	}
	for d, n := range c.blobs {
		u.Blobs.add(n, r.blobs[d] == 0)
	}
	if u.Images.Bytes, _, err = measure(ctx, s.path(imagesDir)); err != nil {
		return nil, fmt.Errorf("measure storage: %w", err)
	}
	u.States.Count = len(c.states)
	if u.States.Bytes, _, err = measure(ctx, s.path(cacheDir)); err != nil {
		return nil, fmt.Errorf("measure storage: %w", err)
	}
	u.States.Reclaimable = u.States.Bytes
	if err := s.duDirs(ctx, mountsDir, &u.Mounts, func(name string) bool { return !c.pins["m-"+name] }); err != nil {
		return nil, err
	}
	if err := s.duDirs(ctx, tmpDir, &u.Work, func(string) bool { return false }); err != nil {
		return nil, err
	}
	return u, nil
}

func (i *Item) add(bytes int64, reclaimable bool) {
	i.Count++
	i.Bytes += bytes
	if reclaimable {
		i.Reclaimable += bytes
	}
}

// duDirs measures each entry of a directory. What cannot be read (work/work
// of an overlay, mode 000) is not counted.
func (s *Store) duDirs(ctx context.Context, dir string, item *Item, reclaimable func(name string) bool) error {
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return fmt.Errorf("measure storage: %w", err)
	}
	for _, e := range entries {
		n, _, err := measure(ctx, s.path(dir, e.Name()))
		if ctx.Err() != nil {
			return fmt.Errorf("measure storage: %w", err)
		}
		item.add(n, reclaimable(e.Name()))
	}
	return nil
}

// BlobSize adds up the blobs that an image's manifest names and that are
// here, for list's and inspect's virtual size.
func (s *Store) BlobSize(img *Image) int64 {
	var sum int64
	for _, d := range s.imageBlobs(img) {
		if n, err := s.StatBlob(d); err == nil {
			sum += n
		}
	}
	return sum
}
