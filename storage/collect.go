package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Policy says what Collect may take besides what nothing refers to. The zero
// value takes that alone: the cache keeps all its states.
type Policy struct {
	All   bool      // states that are not part of an image, and cache directories that nobody uses
	Until time.Time // those of them that were not used since
	// Of limits both to the states that made one of these trees, and to no cache
	// directory; nil: no limit.
	Of map[TreeID]bool
	// KeepStorage bounds what the cache alone holds, in bytes: what no image and
	// no live process needs, cache directories included. What was used longest
	// ago goes until it is no larger. 0: no bound.
	KeepStorage int64
	ResetCache  bool // every state
	Mounts      bool // every cache directory that nobody uses
	DryRun      bool // change nothing, say what would be freed
}

// wantsMounts reports whether cache directories may go.
func (p *Policy) wantsMounts() bool {
	return p.Mounts || p.Of == nil && (p.All || !p.Until.IsZero() || p.KeepStorage > 0)
}

// Freed is what Collect took, or would take.
type Freed struct {
	Trees, Blobs, States, Mounts int
	Bytes                        int64
}

// Collect removes what nothing needs: trees and blobs that no image, no state
// and no live process refers to, states that lost their trees, and those that
// the policy gives up. Deleted images go with their trees. It first reads
// without a lock, then takes the lock alone to look at what has changed since
// and to rename what goes, and deletes that afterwards.
func (s *Store) Collect(ctx context.Context, p Policy) (Freed, error) {
	if !p.DryRun {
		if err := s.sweep(ctx); err != nil {
			s.log.Warn("clean storage", "err", err)
		}
	}
	c, err := s.scan(ctx, nil)
	if err == nil && p.wantsMounts() {
		err = s.scanMounts(ctx, c)
	}
	if err != nil {
		return Freed{}, fmt.Errorf("collect garbage: %w", err)
	}
	v := s.choose(c, p)
	if p.DryRun {
		return s.outcome(c, v), nil
	}
	freed, err := s.collect(ctx, p, c, v)
	if err != nil {
		return freed, fmt.Errorf("collect garbage: %w", err)
	}
	return freed, nil
}

// Bound is Collect with a bound on what the cache alone holds, which may be 0.
// It takes no lock and removes nothing as long as that is not exceeded.
func (s *Store) Bound(ctx context.Context, bytes int64) (Freed, error) {
	p := Policy{KeepStorage: bytes, All: bytes == 0}
	c, err := s.scan(ctx, nil)
	if err == nil {
		err = s.scanMounts(ctx, c)
	}
	if err != nil {
		return Freed{}, fmt.Errorf("bound the cache: %w", err)
	}
	v := s.choose(c, p)
	if len(v.states)+len(v.mounts) == 0 {
		return Freed{}, nil
	}
	freed, err := s.collect(ctx, p, c, v)
	if err != nil {
		err = fmt.Errorf("bound the cache: %w", err)
	}
	return freed, err
}

// have reports whether all trees are in storage.
func (c *contents) have(ids []TreeID) bool {
	return !slices.ContainsFunc(ids, func(id TreeID) bool { return c.trees[id] == nil })
}

// needs counts references, with the given states left out.
func (s *Store) needs(c *contents, v *victims) *refs {
	r := s.fixedRefs(c)
	for path, st := range c.states {
		if !v.states[path] {
			r.addState(st, 1)
		}
	}
	// A deleted image can come back as long as its trees are kept.
	for _, rec := range c.deleted {
		if r.all(rec.img.Chain) {
			for _, d := range s.imageBlobs(rec.img) {
				r.addBlob(d, 1)
			}
		}
	}
	return r
}

// outcome counts what would go.
func (s *Store) outcome(c *contents, v *victims) Freed {
	r := s.needs(c, v)
	f := Freed{States: len(v.states), Mounts: len(v.mounts)}
	for name := range v.mounts {
		f.Bytes += c.mounts[name].bytes
	}
	for id, t := range c.trees {
		if r.trees[id] == 0 {
			f.Trees++
			f.Bytes += t.bytes
		}
	}
	for d, n := range c.blobs {
		if r.blobs[d] == 0 {
			f.Blobs++
			f.Bytes += n
		}
	}
	return f
}

// collect does it: before is what choose saw.
func (s *Store) collect(ctx context.Context, p Policy, before *contents, v *victims) (Freed, error) {
	bin, err := s.newTrash()
	if err != nil {
		return Freed{}, err
	}
	freed, err := s.discard(ctx, p, before, v, bin)
	if bin == "" {
		return freed, err
	}
	return freed, errors.Join(err, RemoveTree(ctx, string(bin)))
}

// trash is the directory where things go to be deleted when the lock is
// released; "" on a disk so full that there is none: they are deleted at once.
type trash string

func (s *Store) newTrash() (trash, error) {
	dir, err := s.tempName("trash")
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if IsFull(err) {
		return "", nil
	}
	return trash(dir), err
}

// take removes path from where it is.
func (bin trash) take(ctx context.Context, path string) error {
	if bin != "" {
		err := os.Rename(path, string(bin)+"/"+filepath.Base(path))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	// Without its description, half a tree is not taken for a tree.
	if err := os.Remove(path + "/" + treeFile); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return err
	}
	return RemoveTree(ctx, path)
}

// discard throws away what goes, under the lock. States go before the trees
// they name, so that a crash leaves no state without trees.
func (s *Store) discard(ctx context.Context, p Policy, before *contents, v *victims, bin trash) (Freed, error) {
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return Freed{}, err
	}
	defer unlock()
	now, err := s.scan(ctx, before)
	if err != nil {
		return Freed{}, err
	}
	now.mounts = before.mounts
	v.spare(s, p, before, now)
	freed := s.outcome(now, v)
	for path := range v.states {
		if err := removeFile(path); err != nil {
			return Freed{}, err
		}
	}
	for name := range v.mounts {
		if err := bin.take(ctx, s.path(mountsDir, name)); err != nil {
			return freed, err
		}
	}
	if err := s.discardUnneeded(ctx, now, v, bin); err != nil {
		return freed, err
	}
	if err := s.mend(now); err != nil && !IsFull(err) { // the next Collect will
		return freed, err
	}
	return freed, errors.Join(s.removeKeyLocks(), s.removeStaleNotes())
}

// discardUnneeded throws away the trees and blobs that nothing refers to, and
// the deleted images that lose trees by it.
func (s *Store) discardUnneeded(ctx context.Context, c *contents, v *victims, bin trash) error {
	r := s.needs(c, v)
	for d := range c.blobs {
		if r.blobs[d] == 0 {
			if err := bin.take(ctx, s.blobPath(d)); err != nil {
				return err
			}
		}
	}
	for id := range c.trees {
		if r.trees[id] == 0 {
			if err := bin.take(ctx, s.treeDir(id)); err != nil {
				return err
			}
			delete(c.trees, id)
		}
	}
	for _, rec := range c.deleted {
		if !c.have(rec.img.Chain) {
			if err := removeFile(rec.path); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
