package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"virga/registry"
	"virga/storage"
)

// A cache in a directory is an OCI image layout (image-spec, image-layout.md)
// with one image of this name.
const cacheName = "virga-cache"

// maxLayoutFile bounds the files of a layout that are read into memory.
const maxLayoutFile = 8 << 20

// blobFile is the path of a blob in a layout.
func blobFile(dir string, d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", err
	}
	return filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded()), nil
}

// fromLayout reads the cache in a directory.
func (s *cacheSource) fromLayout(context.Context) ([]byte, []storage.Layer, error) {
	index, err := readIndex(s.place.Dir)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(index.Manifests, isCache)
	if i < 0 {
		return nil, nil, errors.New("there is no build cache in it")
	}
	var m ociv1.Manifest
	var c cacheConfig
	if _, err := readJSON(s.place.Dir, index.Manifests[i].Digest, &m); err != nil {
		return nil, nil, err
	}
	config, err := readJSON(s.place.Dir, m.Config.Digest, &c)
	if err != nil {
		return nil, nil, err
	}
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		return nil, nil, fmt.Errorf("it has %d layers and %d diff IDs", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	layers := make([]storage.Layer, len(m.Layers))
	for i, d := range m.Layers {
		layers[i] = storage.Layer{DiffID: c.RootFS.DiffIDs[i], Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
	}
	return config, layers, nil
}

func isCache(d ociv1.Descriptor) bool { return d.Annotations[ociv1.AnnotationRefName] == cacheName }

func readIndex(dir string) (*ociv1.Index, error) {
	b, err := readBounded(filepath.Join(dir, ociv1.ImageIndexFile))
	if err != nil {
		return nil, err
	}
	x := new(ociv1.Index)
	if err := json.Unmarshal(b, x); err != nil {
		return nil, fmt.Errorf("read index.json: %w", err)
	}
	return x, nil
}

// readJSON reads a blob, compares its digest and parses it.
func readJSON(dir string, d digest.Digest, v any) ([]byte, error) {
	name, err := blobFile(dir, d)
	if err != nil {
		return nil, err
	}
	b, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	if got := d.Algorithm().FromBytes(b); got != d {
		return nil, fmt.Errorf("blob %s: %w: what is there has digest %s", d, storage.ErrCorrupt, got)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return b, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLayoutFile+1))
	if err == nil && len(b) > maxLayoutFile {
		err = fmt.Errorf("%q: larger than %d MiB", name, maxLayoutFile>>20)
	}
	return b, err
}

// open reads a layer of a source, compared with its digest by whoever stores
// or sends it.
func (s *cacheSource) open(ctx context.Context, l storage.Layer) (io.ReadCloser, error) {
	if s.place.Dir == "" {
		return s.x.client.Blob(ctx, s.place.Ref, registry.Descriptor{Digest: l.Digest, Size: l.Size, MediaType: l.MediaType})
	}
	name, err := blobFile(s.place.Dir, l.Digest)
	if err != nil {
		return nil, err
	}
	return os.Open(name)
}

// download brings layers into storage as blobs.
func (s *cacheSource) download(ctx context.Context, layers []storage.Layer) error {
	if s.place.Dir == "" {
		r := &registry.Remote{Reference: s.place.Ref}
		for _, l := range layers {
			r.Layers = append(r.Layers, registry.Descriptor{Digest: l.Digest, Size: l.Size, MediaType: l.MediaType})
			r.DiffIDs = append(r.DiffIDs, l.DiffID)
		}
		g, gctx := errgroup.WithContext(ctx)
		if _, err := s.x.download(gctx, g, s.place.Ref, r); err != nil {
			return err
		}
		return g.Wait()
	}
	for _, l := range layers {
		r, err := s.open(ctx, l)
		if err != nil {
			return err
		}
		if err := errors.Join(s.x.store.PutBlob(ctx, l.Digest, l.Size, r), r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// writeLayout puts a cache into a directory, in place of the one that is
// there. Other images in the layout stay. Readers see the old one or the new.
func writeLayout(ctx context.Context, dir string, up *registry.Image) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", string(digest.SHA256)), 0o777); err != nil {
		return err
	}
	index, err := readIndex(dir)
	if errors.Is(err, os.ErrNotExist) {
		index, err = &ociv1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageIndex}, nil
	}
	if err != nil {
		return err
	}
	for _, l := range up.Layers {
		if err := addBlob(ctx, dir, l.Digest, l.Size, l.Open); err != nil {
			return err
		}
	}
	for _, b := range [][]byte{up.Config, up.Manifest} {
		open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		if err := addBlob(ctx, dir, digest.FromBytes(b), int64(len(b)), open); err != nil {
			return err
		}
	}
	index.Manifests = append(slices.DeleteFunc(index.Manifests, isCache), ociv1.Descriptor{
		MediaType: up.MediaType, Digest: digest.FromBytes(up.Manifest), Size: int64(len(up.Manifest)),
		Annotations: map[string]string{ociv1.AnnotationRefName: cacheName},
	})
	x, err := json.Marshal(index)
	if err != nil {
		return err
	}
	layout, err := json.Marshal(ociv1.ImageLayout{Version: ociv1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(dir, ociv1.ImageLayoutFile), bytes.NewReader(layout), ""); err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, ociv1.ImageIndexFile), bytes.NewReader(x), "")
}

// addBlob writes a blob unless it is there.
func addBlob(ctx context.Context, dir string, d digest.Digest, size int64, open func(context.Context) (io.ReadCloser, error)) error {
	name, err := blobFile(dir, d)
	if err != nil {
		return err
	}
	if fi, err := os.Stat(name); err == nil && fi.Size() == size {
		return nil
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return replaceFile(name, r, d)
}

// replaceFile writes a file, whole or not at all, if it has the digest.
func replaceFile(name string, r io.Reader, want digest.Digest) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	sum := digest.SHA256.Digester()
	_, err = io.Copy(io.MultiWriter(f, sum.Hash()), r)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if want != "" && sum.Digest() != want {
		return fmt.Errorf("blob %s: %w: its bytes have digest %s", want, storage.ErrCorrupt, sum.Digest())
	}
	return os.Rename(f.Name(), name)
}
