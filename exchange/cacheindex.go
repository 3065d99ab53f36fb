package exchange

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
	"virga/registry"
	"virga/storage"
)

// A cache is an OCI image, so that any registry takes it and any tool copies
// it: its layers are the layers of the states, its configuration says under
// "virga.cache" which state is which layer.

// cacheFormat changes when an older virga would misread what a newer wrote.
const cacheFormat = 1

// maxStates bounds what an index may make us remember.
const maxStates = 50_000

// cacheConfig is the configuration of a cache.
type cacheConfig struct {
	Architecture string       `json:"architecture"`
	OS           string       `json:"os"`
	RootFS       image.RootFS `json:"rootfs"`
	Cache        *cacheIndex  `json:"virga.cache"`
}

type cacheIndex struct {
	Format int          `json:"format"`
	States []cacheEntry `json:"states"`
}

// cacheEntry is a state, or a record that stands for one.
type cacheEntry struct {
	Key         string    `json:"key"`
	Parent      string    `json:"parent,omitempty"`
	Stage       string    `json:"stage,omitempty"`
	Instruction string    `json:"instruction,omitempty"`
	Created     time.Time `json:"created"`
	Layer       int       `json:"layer,omitempty"` // number in the manifest, from 1; 0: it changed nothing
	Alias       string    `json:"alias,omitempty"` // key of the state that this entry only leads to
}

// cachedState is a state as a source has it.
type cachedState struct {
	state storage.State
	layer storage.Layer // no digest: nothing changed
}

// cacheSource is a place that is read. Its index is read once.
type cacheSource struct {
	x     *Exchange
	place CachePlace

	mu      sync.Mutex
	loaded  bool
	dropped bool
	states  map[string]cachedState
}

// index returns the states by key; none after drop.
func (s *cacheSource) index(ctx context.Context) (map[string]cachedState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded || s.dropped {
		return s.states, nil
	}
	read := s.fromRegistry
	if s.place.Dir != "" {
		read = s.fromLayout
	}
	config, layers, err := read(ctx)
	if err == nil {
		s.states, err = parseCache(config, layers)
	}
	s.loaded = err == nil
	return s.states, err
}

// drop reports whether the source was in use.
func (s *cacheSource) drop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.dropped
	s.dropped, s.states = true, nil
	return !was
}

func (s *cacheSource) fromRegistry(ctx context.Context) ([]byte, []storage.Layer, error) {
	if s.x.client == nil {
		return nil, nil, fmt.Errorf("BUG: no registry client")
	}
	r, _, err := s.x.resolve(ctx, s.place.Ref, registry.Want{Yolo: true})
	if err != nil {
		return nil, nil, err
	}
	layers := make([]storage.Layer, len(r.Layers))
	for i, d := range r.Layers {
		layers[i] = storage.Layer{DiffID: r.DiffIDs[i], Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
	}
	return r.ConfigBytes, layers, nil
}

// parseCache reads a configuration whose bytes and layers are those that the
// manifest names.
func parseCache(config []byte, layers []storage.Layer) (map[string]cachedState, error) {
	var c cacheConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("read cache index: %w", err)
	}
	switch {
	case c.Cache == nil:
		return nil, fmt.Errorf("it is no build cache")
	case c.Cache.Format != cacheFormat:
		return nil, fmt.Errorf("its format is %d, this virga knows %d", c.Cache.Format, cacheFormat)
	case len(c.Cache.States) > maxStates:
		return nil, fmt.Errorf("it has %d states, more than the limit of %d", len(c.Cache.States), maxStates)
	}
	out := make(map[string]cachedState, len(c.Cache.States))
	for _, e := range c.Cache.States {
		if !isKey(e.Key) || e.Layer < 0 || e.Layer > len(layers) {
			return nil, fmt.Errorf("read cache index: state %.80q, layer %d of %d", e.Key, e.Layer, len(layers))
		}
		st := cachedState{state: storage.State{Key: e.Key, Parent: e.Parent, Instruction: e.Instruction, Created: e.Created, Alias: e.Alias, Stage: e.Stage}}
		if e.Layer > 0 {
			st.layer = layers[e.Layer-1]
		}
		out[e.Key] = st
	}
	return out, nil
}

// isKey reports whether a key has the form of those that build makes.
func isKey(key string) bool {
	_, err := hex.DecodeString(key)
	return err == nil && len(key) == hex.EncodedLen(32)
}

// leave writes states to a place.
func (c *Cache) leave(ctx context.Context, to CachePlace, states []storage.State) error {
	up, err := c.upload(ctx, states)
	if err != nil {
		return err
	}
	if to.Dir != "" {
		return writeLayout(ctx, to.Dir, up)
	}
	_, err = c.x.client.Push(ctx, to.Ref, *up, registry.PushOptions{})
	return err
}

// upload makes the image that a cache is.
func (c *Cache) upload(ctx context.Context, states []storage.State) (*registry.Image, error) {
	up := &registry.Image{MediaType: ociv1.MediaTypeImageManifest}
	m := ociv1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: up.MediaType,
		Config: ociv1.Descriptor{MediaType: ociv1.MediaTypeImageConfig}, Layers: []ociv1.Descriptor{},
	}
	config := cacheConfig{
		Architecture: "unknown", OS: "unknown", RootFS: image.RootFS{Type: "layers", DiffIDs: []digest.Digest{}},
		Cache: &cacheIndex{Format: cacheFormat, States: []cacheEntry{}},
	}
	number := map[digest.Digest]int{}
	for _, st := range states {
		e := cacheEntry{Key: st.Key, Parent: st.Parent, Instruction: st.Instruction, Created: st.Created, Alias: st.Alias, Stage: st.Stage}
		if n := len(st.Chain); n > 0 && st.Alias == "" {
			l, blob, err := c.layerOf(ctx, st.Chain[n-1])
			if err != nil {
				return nil, err
			}
			if number[l.Digest] == 0 {
				config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
				m.Layers = append(m.Layers, ociv1.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest, Size: blob.Size})
				up.Layers = append(up.Layers, blob)
				number[l.Digest] = len(m.Layers)
			}
			e.Layer = number[l.Digest]
		}
		config.Cache.States = append(config.Cache.States, e)
	}
	var err error
	if up.Config, err = json.Marshal(config); err != nil {
		return nil, err
	}
	m.Config.Digest, m.Config.Size = digest.FromBytes(up.Config), int64(len(up.Config))
	up.Manifest, err = json.Marshal(m)
	return up, err
}

// layerOf is the layer of a state's tree: packed, or where it was found if it
// was never needed here.
func (c *Cache) layerOf(ctx context.Context, id storage.TreeID) (storage.Layer, registry.Upload, error) {
	c.mu.Lock()
	f, ok := c.found[id]
	c.mu.Unlock()
	if ok && c.x.store.Pin(ctx, id) != nil {
		d := registry.Descriptor{Digest: f.layer.Digest, Size: f.layer.Size, MediaType: f.layer.MediaType}
		return f.layer, registry.Upload{Descriptor: d, Open: func(ctx context.Context) (io.ReadCloser, error) { return f.src.open(ctx, f.layer) }}, nil
	}
	var l storage.Layer
	var up registry.Upload
	err := c.x.chainUploads(ctx, []storage.TreeID{id}, Compression{}, func(packed storage.Layer, blob registry.Upload) { l, up = packed, blob })
	return l, up, err
}
