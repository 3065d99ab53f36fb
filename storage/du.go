package storage

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Usage is what the storage directory takes on disk. Each tree and blob counts
// once: among the images if an image needs it, else in the cache if a state
// does, else as unused.
type Usage struct {
	Images Item // with configurations, manifests and layers
	Cache  Item // states, what they alone hold, and their records
	Mounts Item // directories of RUN --mount=type=cache
	Unused Item // trees and blobs that nothing refers to
	Work   Item // in progress

	ByImage []ImageUsage // sorted by reference
	ByState []StateUsage // used last first
	ByMount []MountUsage // used last first
}

// Item is one kind of contents.
type Item struct {
	Count       int
	Active      int // of Count: used by a live process or, for states, by an image
	Bytes       int64
	Reclaimable int64 // of Bytes: what a Collect with All, ResetCache and Mounts would free
}

// ImageUsage is one image. Size is Shared and Unique: what other images need
// as well, and what they do not.
type ImageUsage struct {
	Image          Image
	Size           int64
	Shared, Unique int64
	Active         bool // a process holds on to it
}

// StateUsage is one state of the build cache.
type StateUsage struct {
	Key         string
	Parent      string
	Stage       string
	Instruction string
	Failed      bool  // what was there before the instruction failed, kept to be looked into
	Bytes       int64 // of its own tree
	LastUsed    time.Time
	Images      []string // references of the images that it is part of
	Active      bool     // part of an image, or in use by a process
}

// MountUsage is one directory of RUN --mount=type=cache.
type MountUsage struct {
	ID       string // as the Dockerfile has it
	Bytes    int64
	LastUsed time.Time
	Active   bool
}

// Total returns the sum of all kinds.
func (u *Usage) Total() (bytes, reclaimable int64) {
	for _, i := range []Item{u.Images, u.Cache, u.Mounts, u.Unused, u.Work} {
		bytes += i.Bytes
		reclaimable += i.Reclaimable
	}
	return bytes, reclaimable
}

// Du measures the storage directory. Trees are not walked: their sizes were
// noted when they were made.
func (s *Store) Du(ctx context.Context) (*Usage, error) {
	c, err := s.scan(ctx, nil)
	if err == nil {
		err = s.scanMounts(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("measure storage: %w", err)
	}
	u := &Usage{}
	s.duObjects(c, u)
	s.duImages(c, u)
	c.duStates(u)
	s.duMounts(c, u)
	for dir, item := range map[string]*Item{imagesDir: &u.Images, cacheDir: &u.Cache} {
		records, _, err := measure(ctx, s.path(dir))
		if err != nil {
			return nil, fmt.Errorf("measure storage: %w", err)
		}
		item.Bytes += records
	}
	return u, s.duWork(ctx, u)
}

// duObjects adds up trees and blobs.
func (s *Store) duObjects(c *contents, u *Usage) {
	images, pinned, all := s.imageRefs(c), s.fixedRefs(c), s.needs(c, &victims{})
	add := func(bytes int64, byImages, byPins, needed int) {
		item := &u.Unused
		switch {
		case byImages > 0:
			u.Images.Bytes += bytes
			return
		case needed > byPins:
			item = &u.Cache
		default:
			item.Count++
			if byPins > 0 {
				item.Active++
			}
		}
		item.Bytes += bytes
		if byPins == 0 {
			item.Reclaimable += bytes
		}
	}
	for id, t := range c.trees {
		add(t.bytes, images.trees[id], pinned.trees[id], all.trees[id])
	}
	for d, n := range c.blobs {
		add(n, images.blobs[d], pinned.blobs[d], all.blobs[d])
	}
}

// duImages lists the images.
func (s *Store) duImages(c *contents, u *Usage) {
	u.Images.Count = len(c.images)
	shared := map[TreeID]map[digest.Digest]bool{} // by tree, the images that need it
	blobs := map[digest.Digest]map[digest.Digest]bool{}
	for _, rec := range c.images {
		for _, id := range rec.img.trees() {
			note(shared, id, rec.img.ID)
		}
		for _, d := range s.imageBlobs(rec.img) {
			note(blobs, d, rec.img.ID)
		}
	}
	for _, rec := range c.images {
		i := ImageUsage{Image: *rec.img, Active: c.pinned(rec.img.Chain)}
		add := func(bytes int64, users int) {
			i.Size += bytes
			if users > 1 {
				i.Shared += bytes
			} else {
				i.Unique += bytes
			}
		}
		for _, id := range rec.img.trees() {
			if t := c.trees[id]; t != nil {
				add(t.bytes, len(shared[id]))
			}
		}
		all := s.imageBlobs(rec.img)
		slices.Sort(all)
		for _, d := range slices.Compact(all) {
			add(c.blobs[d], len(blobs[d]))
		}
		if i.Active {
			u.Images.Active++
		}
		u.ByImage = append(u.ByImage, i)
	}
}

func note[K comparable](m map[K]map[digest.Digest]bool, k K, user digest.Digest) {
	if m[k] == nil {
		m[k] = map[digest.Digest]bool{}
	}
	m[k][user] = true
}

// pinned reports whether live processes hold on to all of the trees.
func (c *contents) pinned(chain []TreeID) bool {
	return len(chain) > 0 && !slices.ContainsFunc(chain, func(id TreeID) bool { return !c.pins["t-"+string(id)] })
}

// duStates lists the states. Several records may stand for one tree; all are
// states to a prune, but the tree is shown once, for the one it was made for.
func (c *contents) duStates(u *Usage) {
	users := map[TreeID][]string{}
	for _, rec := range c.images {
		for _, id := range rec.img.Chain {
			users[id] = append(users[id], rec.img.Ref)
		}
	}
	for _, st := range c.states {
		if st.bad || st.alias {
			continue
		}
		i := StateUsage{Key: st.key, Parent: st.parent, Stage: st.stage, Instruction: st.text, LastUsed: st.used, Active: c.pinned(st.chain)}
		if i.Failed = st.kept; i.Failed {
			u.Cache.Count++
			u.ByState = append(u.ByState, i)
			continue // its trees are those of the states before it
		}
		for _, id := range st.chain {
			if t := c.trees[id]; t != nil {
				i.Bytes += t.bytes
			}
			i.Images = append(i.Images, users[id]...)
		}
		if i.Active = i.Active || len(i.Images) > 0; i.Active {
			u.Cache.Active++
		}
		u.Cache.Count++
		u.ByState = append(u.ByState, i)
	}
	slices.SortFunc(u.ByState, func(a, b StateUsage) int {
		if n := b.LastUsed.Compare(a.LastUsed); n != 0 {
			return n
		}
		return strings.Compare(a.Key, b.Key)
	})
}

// duMounts lists the cache directories.
func (s *Store) duMounts(c *contents, u *Usage) {
	for name, m := range c.mounts {
		i := MountUsage{ID: s.mountID(name), Bytes: m.bytes, LastUsed: m.used, Active: c.pins["m-"+name]}
		u.Mounts.Count++
		u.Mounts.Bytes += m.bytes
		if i.Active {
			u.Mounts.Active++
		} else {
			u.Mounts.Reclaimable += m.bytes
		}
		u.ByMount = append(u.ByMount, i)
	}
	slices.SortFunc(u.ByMount, func(a, b MountUsage) int {
		if n := b.LastUsed.Compare(a.LastUsed); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// duWork measures what processes are making. What cannot be read is not
// counted, nor what goes away meanwhile.
func (s *Store) duWork(ctx context.Context, u *Usage) error {
	entries, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return fmt.Errorf("measure storage: %w", err)
	}
	for _, e := range entries {
		n, _, err := measure(ctx, s.path(tmpDir, e.Name()))
		if ctx.Err() != nil {
			return fmt.Errorf("measure storage: %w", err)
		}
		u.Work.Count++
		u.Work.Active++
		u.Work.Bytes += n
	}
	return nil
}
