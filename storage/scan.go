package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// contents is what is in storage, as far as Collect and Du need it.
type contents struct {
	pins    map[string]bool // names of pin files
	images  []imageRecord
	deleted []imageRecord
	states  map[string]*stateInfo // by path
	trees   map[TreeID]*treeInfo
	blobs   map[digest.Digest]int64
	mounts  map[string]*mountInfo // by name; only if asked for
}

type stateInfo struct {
	key    string
	parent string
	stage  string
	text   string // the instruction
	alias  bool   // it only leads to another one
	kept   bool   // it is no result
	used   time.Time
	chain  []TreeID
	bad    bool // damaged, or lost with the boot it was written in
}

type mountInfo struct {
	bytes int64
	used  time.Time
}

type treeInfo struct {
	bytes  int64
	layers []digest.Digest
}

// scan reads everything; what old, an earlier scan, knows and cannot have
// changed is not read again. Pins are read first: whoever lets go of a pin
// has written its record by then.
func (s *Store) scan(ctx context.Context, old *contents) (*contents, error) {
	c := &contents{states: map[string]*stateInfo{}, trees: map[TreeID]*treeInfo{}, blobs: map[digest.Digest]int64{}}
	if old == nil {
		old = c
	}
	var err error
	if c.pins, err = s.readPins(); err != nil {
		return nil, err
	}
	if c.images, err = s.records(imagesDir); err != nil {
		return nil, err
	}
	if c.deleted, err = s.records(deletedDir); err != nil {
		return nil, err
	}
	if err := s.scanStates(ctx, c, old); err != nil {
		return nil, fmt.Errorf("list states: %w", err)
	}
	if err := s.scanTrees(ctx, c, old); err != nil {
		return nil, fmt.Errorf("list trees: %w", err)
	}
	if err := s.scanBlobs(c); err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	return c, nil
}

// readPins collects the pins of all sessions.
func (s *Store) readPins() (map[string]bool, error) {
	sessions, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	pins := map[string]bool{}
	for _, d := range sessions {
		entries, err := os.ReadDir(s.path(tmpDir, d.Name(), pinDir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read pins: %w", err)
		}
		for _, e := range entries {
			pins[e.Name()] = true
		}
	}
	return pins, nil
}

func (s *Store) scanStates(ctx context.Context, c, old *contents) error {
	buf := make([]byte, 16<<10)
	return s.eachState(ctx, func(path string) error {
		if known := old.states[path]; known != nil {
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && info.ModTime().Equal(known.used) {
				c.states[path] = known
				return nil
			}
		}
		st, durable, err := readState(path, buf)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, ErrCorrupt):
			c.states[path] = &stateInfo{bad: true}
			return nil
		case err != nil:
			return err
		}
		c.states[path] = &stateInfo{key: st.Key, parent: st.Parent, stage: st.Stage, text: st.Instruction, alias: st.Alias != "", kept: len(st.Kept) > 0, used: st.LastUsed, chain: st.Chain, bad: s.lost(durable, st.BootID)}
		return nil
	})
}

func (s *Store) scanTrees(ctx context.Context, c, old *contents) error {
	entries, err := os.ReadDir(s.path(treesDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := TreeID(e.Name())
		if id.check() != nil {
			continue // not ours
		}
		if c.trees[id] = old.trees[id]; c.trees[id] != nil {
			continue
		}
		t, _, err := s.readTree(id)
		if errors.Is(err, ErrNotFound) {
			t, err = &Tree{}, nil // no tree.json: damaged, and of no use to anybody
		}
		if err != nil {
			return err
		}
		info := &treeInfo{bytes: t.Bytes}
		for _, l := range t.Layers {
			if l.Digest != "" {
				info.layers = append(info.layers, l.Digest)
			}
		}
		c.trees[id] = info
	}
	return nil
}

func (s *Store) scanBlobs(c *contents) error {
	entries, err := os.ReadDir(s.path(blobsDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || checkDigest(d) != nil {
			continue
		}
		if err != nil {
			return err
		}
		c.blobs[d] = info.Size()
	}
	return nil
}

// scanMounts measures the cache directories. What cannot be read (work/work of
// an overlay, mode 000) is not counted.
func (s *Store) scanMounts(ctx context.Context, c *contents) error {
	entries, err := os.ReadDir(s.path(mountsDir))
	if err != nil {
		return err
	}
	c.mounts = map[string]*mountInfo{}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		bytes, _, err := measure(ctx, s.path(mountsDir, e.Name()))
		if ctx.Err() != nil {
			return err
		}
		c.mounts[e.Name()] = &mountInfo{bytes: bytes, used: info.ModTime()}
	}
	return nil
}

// refs counts who needs which trees and blobs.
type refs struct {
	c     *contents
	trees map[TreeID]int
	blobs map[digest.Digest]int
	bytes int64 // of all that are needed
}

// fixedRefs returns the needs of images and pins.
func (s *Store) fixedRefs(c *contents) *refs {
	r := s.imageRefs(c)
	r.addPins()
	return r
}

// addPins counts what live processes hold on to.
func (r *refs) addPins() {
	for name := range r.c.pins {
		switch kind, id, _ := strings.Cut(name, "-"); kind {
		case "t":
			r.addTree(TreeID(id), 1)
		case "b":
			r.addBlob(digest.NewDigestFromEncoded(digest.SHA256, id), 1)
		}
	}
}

// imageRefs returns the needs of images.
func (s *Store) imageRefs(c *contents) *refs {
	r := &refs{c: c, trees: map[TreeID]int{}, blobs: map[digest.Digest]int{}}
	for _, rec := range c.images {
		for _, id := range rec.img.trees() {
			r.addTree(id, 1)
		}
		for _, d := range s.imageBlobs(rec.img) {
			r.addBlob(d, 1)
		}
	}
	return r
}

// imageBlobs returns the blobs that an image's record and manifest name.
func (s *Store) imageBlobs(img *Image) []digest.Digest {
	all := img.blobs()
	if img.Digest == "" {
		return all
	}
	if m, _, err := s.readManifest(img.Digest); err == nil {
		all = append(all, m.blobs()...)
	}
	return all
}

// addTree counts n more (or fewer) who need a tree, and its layers' blobs.
func (r *refs) addTree(id TreeID, n int) {
	was := r.trees[id]
	r.trees[id] = was + n
	t := r.c.trees[id]
	if t == nil || was > 0 && was+n > 0 {
		return
	}
	r.bytes += int64(n) * t.bytes // from or to 0 by steps of one
	for _, d := range t.layers {
		r.addBlob(d, n)
	}
}

func (r *refs) addBlob(d digest.Digest, n int) {
	was := r.blobs[d]
	r.blobs[d] = was + n
	if was == 0 || was+n == 0 {
		r.bytes += int64(n) * r.c.blobs[d]
	}
}

func (r *refs) addState(st *stateInfo, n int) {
	for _, id := range st.chain {
		r.addTree(id, n)
	}
}

// all reports whether every one of the trees is needed.
func (r *refs) all(ids []TreeID) bool {
	for _, id := range ids {
		if r.trees[id] == 0 {
			return false
		}
	}
	return true
}
