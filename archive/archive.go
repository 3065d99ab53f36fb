package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"virga/image"
	"virga/internal/inroot"
)

const (
	// maxManifest is what registries accept (distribution-spec 1.1, "Pushing
	// Manifests").
	maxManifest = 4 << 20
	maxConfig   = 16 << 20
)

// File is an open image file. Its layers can be read until Close.
type File struct{ files files }

// Image is one of the images in a file.
type Image struct {
	Names []string // as written, unchecked
	// Manifest and Index are the bytes that the digests of the image and of
	// the index it was chosen from are of; nil if the file has none.
	Manifest, Index []byte
	ConfigName      string // the configuration's place in the file; "" if it was made here
	Config          []byte
	Parsed          *image.Config // of Config
	Layers          []Layer
}

// Layer is a layer of an image, bottom first.
type Layer struct {
	Name   string        // its place in the file
	DiffID digest.Digest // of the uncompressed bytes
	// Digest, Size and MediaType are the manifest's. Without a manifest there
	// is only the size of what Open gives, which may be compressed or not.
	Digest    digest.Digest
	Size      int64
	MediaType string
	Open      func() (io.ReadCloser, error)
}

// Want says which image is taken of those that differ in their platform only.
type Want struct {
	Platform image.Platform
	// All takes them all.
	All bool
	// Strict refuses an image for another platform also if it is the only one.
	Strict bool
}

// PlatformError says that no image is for the platform wanted.
type PlatformError struct {
	Name string // of the image, or ""
	Want image.Platform
	Have []image.Platform
}

func (e *PlatformError) Error() string {
	s := "no image"
	if e.Name != "" {
		s = "no image " + e.Name
	}
	return fmt.Sprintf("%s for %s", s, e.Want)
}

// Hint says what there is.
func (e *PlatformError) Hint() string {
	s := "there is"
	for i, p := range e.Have {
		if i > 0 {
			s += ","
		}
		s += " " + p.String()
	}
	return s + " (--platform)"
}

// Open reads what an uncompressed tar of size bytes has. r stays the
// caller's, and is read from until the File is no longer used.
func Open(r io.ReaderAt, size int64) (*File, error) {
	t, err := openTar(r, size)
	if err != nil {
		return nil, err
	}
	return &File{t}, nil
}

// OpenDir opens a directory: an OCI image layout, an unpacked docker-archive,
// or what skopeo calls dir:.
func OpenDir(dir string) (*File, error) {
	root, err := inroot.Open(dir)
	if err != nil {
		return nil, err
	}
	return &File{dirFiles{root}}, nil
}

// Close ends the use.
func (f *File) Close() error { return f.files.close() }

// IsImage reports whether there is an image of a form that is known.
func (f *File) IsImage() bool { return f.kind() != nil }

// kind returns the reader of the file's form, or nil. An OCI layout that is a
// docker-archive, too, is read as the first, which knows the digests.
func (f *File) kind() func(Want) ([]*Image, error) {
	switch fs := f.files; {
	case fs.has("index.json") && fs.has("oci-layout"):
		return f.ociImages
	case f.isSkopeo():
		return f.skopeoImages
	case fs.has("manifest.json"):
		return f.dockerImages
	case fs.has("repositories"):
		return f.legacyImages
	}
	return nil
}

// isSkopeo reports whether the file is what skopeo calls dir:.
func (f *File) isSkopeo() bool {
	fs := f.files
	return fs.has("manifest.json") && fs.has("version") && !(fs.has("index.json") && fs.has("oci-layout"))
}

// errNoImage is about a file of a known form that is empty.
var errNoImage = errors.New("there is no image in it")

// Images returns the images, at least one, in the file's order. Of several
// that have the same name, or none, the one for the platform wanted is taken.
func (f *File) Images(want Want) ([]*Image, error) {
	read := f.kind()
	if read == nil {
		return nil, fmt.Errorf("%w: no index.json, manifest.json or repositories", ErrNotImage)
	}
	all, err := read(want)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errNoImage
	}
	for _, img := range all {
		if p := img.Parsed.Platform(); want.Strict && !want.All && image.Fit(want.Platform, p) == 0 {
			return nil, &PlatformError{Name: img.name(), Want: want.Platform, Have: []image.Platform{p}}
		}
	}
	return all, nil
}

func (img *Image) name() string {
	if len(img.Names) > 0 {
		return img.Names[0]
	}
	return ""
}

// setConfig reads the configuration, and gives the layers their diff IDs.
func (img *Image) setConfig(b []byte) error {
	c, err := image.ParseConfig(b)
	if err != nil {
		return err
	}
	img.Config, img.Parsed = b, c
	if len(c.RootFS.DiffIDs) != len(img.Layers) {
		return fmt.Errorf("the configuration names %d layers, the manifest %d", len(c.RootFS.DiffIDs), len(img.Layers))
	}
	for i, d := range c.RootFS.DiffIDs {
		if d.Algorithm() != digest.SHA256 {
			return fmt.Errorf("diff ID %q: not sha256", string(d))
		}
		img.Layers[i].DiffID = d
	}
	return nil
}

// parseJSON reads a JSON document; what names it in errors.
func parseJSON(b []byte, v any, what string) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
