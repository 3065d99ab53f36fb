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
	All         bool      // states that are not part of an image too
	Until       time.Time // states not used since; with All only those of them
	KeepStorage int64     // then, until all is no larger, the states used longest ago; 0: no bound
	ResetCache  bool      // every state
	Mounts      bool      // cache directories that nobody uses
	DryRun      bool      // change nothing, say what would be freed
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
	if err != nil {
		return Freed{}, fmt.Errorf("collect garbage: %w", err)
	}
	victims := s.choose(c, p)
	if p.DryRun {
		return s.outcome(c, victims), nil
	}
	freed, err := s.collect(ctx, p, c, victims)
	if err != nil {
		return freed, fmt.Errorf("collect garbage: %w", err)
	}
	return freed, nil
}

// choose returns the paths of the states to give up.
func (s *Store) choose(c *contents, p Policy) map[string]bool {
	victims := map[string]bool{}
	r := s.fixedRefs(c)
	var kept []string
	for path, st := range c.states {
		old := p.Until.IsZero() || st.used.Before(p.Until)
		switch {
		case st.bad, p.ResetCache, !c.have(st.chain),
			p.All && old && !r.all(st.chain),
			!p.All && !p.Until.IsZero() && old:
			victims[path] = true
		default:
			kept = append(kept, path)
		}
	}
	if p.KeepStorage <= 0 {
		return victims
	}
	for _, path := range kept {
		r.addState(c.states[path], 1)
	}
	slices.SortFunc(kept, func(a, b string) int { return c.states[a].used.Compare(c.states[b].used) })
	for _, path := range kept {
		if r.bytes <= p.KeepStorage {
			break
		}
		r.addState(c.states[path], -1)
		victims[path] = true
	}
	return victims
}

// have reports whether all trees are in storage.
func (c *contents) have(ids []TreeID) bool {
	return !slices.ContainsFunc(ids, func(id TreeID) bool { return c.trees[id] == nil })
}

// needs counts references, with the given states left out.
func (s *Store) needs(c *contents, victims map[string]bool) *refs {
	r := s.fixedRefs(c)
	for path, st := range c.states {
		if !victims[path] {
			r.addState(st, 1)
		}
	}
	// A deleted image can come back as long as its trees are kept.
	for _, rec := range c.deleted {
		if r.all(rec.img.trees()) {
			for _, d := range s.imageBlobs(rec.img) {
				r.addBlob(d, 1)
			}
		}
	}
	return r
}

// outcome counts what would go.
func (s *Store) outcome(c *contents, victims map[string]bool) Freed {
	r := s.needs(c, victims)
	f := Freed{States: len(victims)}
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
func (s *Store) collect(ctx context.Context, p Policy, before *contents, victims map[string]bool) (Freed, error) {
	bin, err := s.newTrash()
	if err != nil {
		return Freed{}, err
	}
	freed, err := s.discard(ctx, p, before, victims, bin)
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
func (s *Store) discard(ctx context.Context, p Policy, before *contents, victims map[string]bool, bin trash) (Freed, error) {
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return Freed{}, err
	}
	defer unlock()
	now, err := s.scan(ctx, before)
	if err != nil {
		return Freed{}, err
	}
	for path := range victims {
		was, is := before.states[path], now.states[path]
		if is == nil || !p.ResetCache && !is.used.Equal(was.used) {
			delete(victims, path) // gone or used again meanwhile
		}
	}
	freed := s.outcome(now, victims)
	for path := range victims {
		if err := removeFile(path); err != nil {
			return Freed{}, err
		}
	}
	if err := s.discardUnneeded(ctx, now, victims, bin); err != nil {
		return freed, err
	}
	if p.Mounts {
		if freed.Mounts, err = s.discardMounts(ctx, now, bin, &freed.Bytes); err != nil {
			return freed, err
		}
	}
	if err := s.mend(now); err != nil && !IsFull(err) { // the next Collect will
		return freed, err
	}
	return freed, errors.Join(s.removeKeyLocks(), s.removeStaleNotes())
}

// discardUnneeded throws away the trees and blobs that nothing refers to, and
// the deleted images that lose trees by it.
func (s *Store) discardUnneeded(ctx context.Context, c *contents, victims map[string]bool, bin trash) error {
	r := s.needs(c, victims)
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
		if !c.have(rec.img.trees()) {
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

// discardMounts takes the cache directories that no live process uses.
func (s *Store) discardMounts(ctx context.Context, c *contents, bin trash, bytes *int64) (int, error) {
	entries, err := os.ReadDir(s.path(mountsDir))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		if c.pins["m-"+e.Name()] {
			continue
		}
		dir := s.path(mountsDir, e.Name())
		if size, _, err := measure(ctx, dir); err == nil {
			*bytes += size
		}
		if err := bin.take(ctx, dir); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
