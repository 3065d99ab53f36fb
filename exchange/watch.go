package exchange

import (
	"context"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/archive"
	"virga/attest"
	"virga/image"
)

// Watch is for a statement about what Save writes.
type Watch struct {
	x     *Exchange
	start time.Time
	file  hash.Hash
	list  []seen
}

// NewWatch returns a Watch for one call of Save.
func (x *Exchange) NewWatch() *Watch {
	return &Watch{x: x, start: x.clock(), file: digest.SHA256.Hash()}
}

// Tee is w, to which the whole file is written.
func (w *Watch) Tee(out io.Writer) io.Writer { return io.MultiWriter(out, w.file) }

// Statement is the statement about the file; Save has succeeded.
func (w *Watch) Statement(step string) (*attest.Statement, error) {
	whole := attest.Digests(digest.NewDigest(digest.SHA256, w.file))
	return collect(step, w.list, whole, w.start, w.x.clock())
}

// AttestStored makes a statement about images in storage: about the OCI archive
// that Save writes of them, so that the manifest's digest is the one that
// registries know.
func (x *Exchange) AttestStored(ctx context.Context, images []Named, step string) (*attest.Statement, error) {
	w := x.NewWatch()
	if err := x.Save(ctx, w.Tee(io.Discard), images, false, w); err != nil {
		return nil, err
	}
	return w.Statement(step)
}

// written are images as the file describes them that they are written to.
func written(src []archive.Source, docker bool) ([]seen, error) {
	raw, list, err := archive.List(src)
	if err != nil {
		return nil, err
	}
	entries := entriesOf(list)
	out := make([]seen, len(src))
	for i, s := range src {
		img := &archive.Image{Config: s.Config, Layers: slices.Clone(s.Layers)}
		if err := setDiffIDs(img); err != nil {
			return nil, err
		}
		if docker {
			out[i] = newSeen(img, raw, entries, entries[i].RepoTags)
			continue
		}
		e := entries[i]
		e.RepoTags = nil
		for _, n := range s.Names { // as index.json has them
			e.RepoTags = append(e.RepoTags, n.Full())
		}
		out[i] = newSeen(img, s.Manifest, []attest.Entry{e}, e.RepoTags)
	}
	return out, nil
}

func setDiffIDs(img *archive.Image) error {
	c, err := image.ParseConfig(img.Config)
	if err != nil {
		return err
	}
	if len(c.RootFS.DiffIDs) != len(img.Layers) {
		return fmt.Errorf("the configuration names %d layers, the manifest %d", len(c.RootFS.DiffIDs), len(img.Layers))
	}
	for i, d := range c.RootFS.DiffIDs {
		img.Layers[i].DiffID = d
	}
	return nil
}
