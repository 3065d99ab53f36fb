package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
)

// Source is an image to be written. Manifest names Config and Layers by
// their digests.
type Source struct {
	Names     []image.Reference
	Manifest  []byte
	MediaType string // of Manifest
	Config    []byte
	Platform  image.Platform
	Layers    []Layer // bottom first; Digest, Size and Open are used
}

// sink is where the files of a layout go.
type sink interface {
	dir(name string) error
	// file makes a file of exactly size bytes.
	file(name string, size int64, write func(io.Writer) error) error
}

// WriteTar writes images as an OCI layout in a tar. With docker there is also
// manifest.json, by which Docker and whoever reads its archives finds the
// same blobs. The bytes depend on the images and their order alone.
func WriteTar(ctx context.Context, w io.Writer, images []Source, docker bool) error {
	tw := tar.NewWriter(w)
	if err := write(ctx, tarSink{tw}, images, docker); err != nil {
		return err
	}
	return tw.Close()
}

// WriteLayout writes images as an OCI layout into dir, which is empty.
func WriteLayout(ctx context.Context, dir string, images []Source) error {
	return write(ctx, dirSink{dir}, images, false)
}

// write puts what is small first, so that a reader of a pipe knows what comes.
// Layers follow in the order of the images, bottom first, each once.
func write(ctx context.Context, s sink, images []Source, docker bool) error {
	layout, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	index, err := layoutIndex(images)
	if err != nil {
		return err
	}
	if err := small(s, v1.ImageLayoutFile, layout); err != nil {
		return err
	}
	if err := small(s, "index.json", index); err != nil {
		return err
	}
	if docker {
		list, _, err := List(images)
		if err != nil {
			return err
		}
		if err := small(s, "manifest.json", list); err != nil {
			return err
		}
	}
	for _, d := range []string{"blobs", "blobs/sha256"} {
		if err := s.dir(d); err != nil {
			return err
		}
	}
	return writeBlobs(ctx, s, images)
}

func small(s sink, name string, b []byte) error {
	return s.file(name, int64(len(b)), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func writeBlobs(ctx context.Context, s sink, images []Source) error {
	done := map[digest.Digest]bool{}
	first := func(d digest.Digest) bool {
		was := done[d]
		done[d] = true
		return !was
	}
	for _, img := range images {
		for _, b := range [][]byte{img.Manifest, img.Config} {
			if d := digest.FromBytes(b); first(d) {
				if err := small(s, layoutBlob(d), b); err != nil {
					return err
				}
			}
		}
	}
	for _, img := range images {
		for _, l := range img.Layers {
			if !first(l.Digest) {
				continue
			}
			err := s.file(layoutBlob(l.Digest), l.Size, func(w io.Writer) error { return copyLayer(ctx, w, l) })
			if err != nil {
				return fmt.Errorf("layer %s: %w", l.Digest, err)
			}
		}
	}
	return nil
}

// copyLayer copies a layer and compares its digest.
func copyLayer(ctx context.Context, w io.Writer, l Layer) error {
	r, err := l.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	sum := digest.SHA256.Digester()
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n > 0 {
			sum.Hash().Write(buf[:n])
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if got := sum.Digest(); got != l.Digest {
		return fmt.Errorf("its bytes have digest %s", got)
	}
	return nil
}

// layoutIndex is index.json: an entry for each name. Both annotations have the
// whole name, as podman and containerd write it.
func layoutIndex(images []Source) ([]byte, error) {
	idx := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	for _, img := range images {
		d := v1.Descriptor{MediaType: img.MediaType, Digest: digest.FromBytes(img.Manifest), Size: int64(len(img.Manifest))}
		if p := img.Platform; p.OS != "" && p.Arch != "" {
			d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Arch, Variant: p.Variant}
		}
		if len(img.Names) == 0 {
			idx.Manifests = append(idx.Manifests, d)
		}
		for _, n := range img.Names {
			d.Annotations = map[string]string{v1.AnnotationRefName: n.Full(), annotationName: n.Full()}
			idx.Manifests = append(idx.Manifests, d)
		}
	}
	return json.Marshal(idx)
}

// List is what manifest.json says about an image that is written.
func (s Source) List() Entry {
	e := Entry{Config: layoutBlob(digest.FromBytes(s.Config)), Layers: []string{}}
	for _, n := range s.Names {
		e.RepoTags = append(e.RepoTags, n.String())
	}
	for _, l := range s.Layers {
		e.Layers = append(e.Layers, layoutBlob(l.Digest))
	}
	return e
}

// List is the manifest.json of images that are written.
func List(images []Source) ([]byte, []Entry, error) {
	list := make([]Entry, len(images))
	for i, img := range images {
		list[i] = img.List()
	}
	b, err := json.Marshal(list)
	return b, list, err
}

type tarSink struct{ tw *tar.Writer }

func (s tarSink) dir(name string) error {
	return s.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

func (s tarSink) file(name string, size int64, write func(io.Writer) error) error {
	err := s.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)})
	if err != nil {
		return err
	}
	if err := write(s.tw); err != nil {
		return err
	}
	return s.tw.Flush() // says if there were fewer bytes
}

type dirSink struct{ path string }

func (s dirSink) dir(name string) error { return os.Mkdir(filepath.Join(s.path, name), 0o755) }

func (s dirSink) file(name string, size int64, write func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(s.path, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = write(f)
	if fi, serr := f.Stat(); err == nil && serr == nil && fi.Size() != size {
		err = fmt.Errorf("%d bytes, not %d", fi.Size(), size)
	}
	return errors.Join(err, f.Close())
}
