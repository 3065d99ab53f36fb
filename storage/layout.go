package storage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The storage directory is an OCI image layout (image-spec, image-layout.md),
// written here and judged by umoci in Check. umoci's own writer
// (oci/cas/dir) is not used: it syncs every blob, takes a flock(2), which
// the file systems that NoLock is for do not have, and leaves its temporary
// directory in the layout when it is killed.

// createLayout makes oci-layout and an index without images.
func (s *Store) createLayout() error {
	layout, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	empty, err := json.Marshal(newIndex().Index)
	if err != nil {
		return err
	}
	if err := writeOnce(s.path(layoutFile), layout); err != nil {
		return err
	}
	return writeOnce(s.path(indexFile), empty)
}

// writeOnce fills a file that is missing or empty. Several processes may do
// so at once, with the same bytes; never is a full one written over, which
// may have been put there by a process that is already past creation.
func writeOnce(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() > 0 {
		return err
	}
	_, err = f.Write(data)
	return err
}

// index is index.json: the images that have a manifest.
type index struct{ v1.Index }

func newIndex() *index {
	return &index{v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{},
	}}
}

func (x *index) remove(ref string) {
	x.Manifests = slices.DeleteFunc(x.Manifests, func(d v1.Descriptor) bool {
		return d.Annotations[v1.AnnotationRefName] == ref
	})
}

// set enters an image, or removes it if it has no manifest in storage.
func (x *index) set(s *Store, img *Image) error {
	x.remove(img.Ref)
	if img.Digest == "" {
		return nil
	}
	m, size, err := s.readManifest(img.Digest)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range m.blobs() {
		if _, err := s.StatBlob(d); err != nil {
			return nil // not all of it is here: other tools could not read it
		}
	}
	d := v1.Descriptor{
		MediaType:   m.MediaType,
		Digest:      img.Digest,
		Size:        size,
		Annotations: map[string]string{v1.AnnotationRefName: img.Ref},
	}
	if p := img.Platform; p.OS != "" && p.Arch != "" {
		d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Arch, Variant: p.Variant}
	}
	x.Manifests = append(x.Manifests, d)
	slices.SortFunc(x.Manifests, func(a, b v1.Descriptor) int {
		return cmp.Compare(a.Annotations[v1.AnnotationRefName], b.Annotations[v1.AnnotationRefName])
	})
	return nil
}

// manifest is what storage needs of an OCI or Docker manifest.
type manifest struct {
	MediaType string          `json:"mediaType"`
	Config    v1.Descriptor   `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
}

// blobs returns what the manifest refers to.
func (m *manifest) blobs() []digest.Digest {
	all := []digest.Digest{m.Config.Digest}
	for _, l := range m.Layers {
		all = append(all, l.Digest)
	}
	return slices.DeleteFunc(all, func(d digest.Digest) bool { return checkDigest(d) != nil })
}

func (s *Store) readManifest(d digest.Digest) (*manifest, int64, error) {
	data, err := s.ReadBlob(d)
	if err != nil {
		return nil, 0, err
	}
	m := new(manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, 0, fmt.Errorf("manifest %s: %w", d, err)
	}
	if m.MediaType == "" {
		m.MediaType = v1.MediaTypeImageManifest // optional in OCI manifests
	}
	return m, int64(len(data)), nil
}

// edit is a change that needs no more room on disk: temp is renamed to path,
// or path removed if there is no temp. The zero value changes nothing.
type edit struct{ temp, path string }

func (e edit) commit() error {
	if e.path == "" {
		return nil
	}
	if e.temp == "" {
		return removeFile(e.path)
	}
	if err := os.Rename(e.temp, e.path); err != nil {
		return errors.Join(err, e.discard())
	}
	return nil
}

func (e edit) discard() error {
	if e.temp == "" {
		return nil
	}
	return os.Remove(e.temp)
}

// editIndex prepares a change of index.json. The lock must be held alone
// until it is committed.
func (s *Store) editIndex(change func(*index) error) (edit, error) {
	x := newIndex()
	old, _, err := readSmall(s.path(indexFile), nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt) {
		return edit{}, err
	}
	if json.Unmarshal(old, &x.Index) != nil {
		x = newIndex() // damaged by a crash; Collect enters the others again
	}
	if err := change(x); err != nil {
		return edit{}, err
	}
	data, err := json.Marshal(x.Index)
	if err != nil {
		return edit{}, fmt.Errorf("BUG: index: %w", err)
	}
	if strings.TrimSpace(string(old)) == string(data) {
		return edit{}, nil
	}
	e := edit{path: s.path(indexFile)}
	if e.temp, err = s.tempName("index"); err != nil {
		return edit{}, err
	}
	if err := makeFile(e.temp, append(data, '\n'), 0o644, false); err != nil {
		return edit{}, errors.Join(err, e.discard())
	}
	return e, nil
}

// rebuildIndex makes index.json from the image records.
func (s *Store) rebuildIndex(images []imageRecord) error {
	e, err := s.editIndex(func(x *index) error {
		x.Manifests = []v1.Descriptor{}
		for _, r := range images {
			if err := x.set(s, r.img); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return e.commit()
}
