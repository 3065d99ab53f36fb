package archive

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
)

// maxDepth bounds indexes in indexes. An index cannot contain itself without
// breaking SHA-256, but each can name the next one many times, so none is
// looked at twice either.
const maxDepth = 8

// annotationName is the whole reference; containerd, BuildKit and Docker write it.
const annotationName = "io.containerd.image.name"

// Docker's media types (distribution, docs/spec/manifest-v2-2.md).
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1  = "application/vnd.docker.distribution.manifest.v1+"
)

// ociReader walks the indexes of a layout.
type ociReader struct {
	files files
	want  Want
	blob  func(digest.Digest) string // the file of a blob
	seen  map[digest.Digest]bool
}

func layoutBlob(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// candidate is a manifest on the way to being chosen.
type candidate struct {
	desc     v1.Descriptor
	names    []string
	index    []byte // what names it, unless that is index.json
	platform image.Platform
	declared bool // the platform is the index's word
}

func (f *File) ociImages(want Want) ([]*Image, error) {
	b, err := readAll(f.files, "index.json", maxManifest)
	if err != nil {
		return nil, err
	}
	var idx v1.Index
	if err := parseJSON(b, &idx, "index.json"); err != nil {
		return nil, err
	}
	o := &ociReader{files: f.files, want: want, blob: layoutBlob, seen: map[digest.Digest]bool{}}
	var all []candidate
	for _, d := range idx.Manifests {
		c, err := o.top(d)
		if err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
		all = append(all, c...)
	}
	chosen := merge(all)
	if !want.All {
		if chosen, err = choose(chosen, want); err != nil {
			return nil, err
		}
	}
	images := make([]*Image, len(chosen))
	for i, c := range chosen {
		if images[i], err = o.image(c); err != nil {
			return nil, err
		}
	}
	return images, f.dockerNames(images)
}

// top looks at what index.json names: a manifest, or an index of which one
// manifest is taken.
func (o *ociReader) top(d v1.Descriptor) ([]candidate, error) {
	names := descriptorNames(d)
	if !isIndex(d.MediaType) {
		if isAttestation(d) {
			return nil, nil
		}
		c, err := o.candidate(d, names, nil)
		return []candidate{c}, err
	}
	raw, inside, err := o.index(d, 1)
	if err != nil {
		return nil, err
	}
	if len(inside) == 0 {
		return nil, fmt.Errorf("index %s: no image in it", d.Digest)
	}
	for i := range inside {
		inside[i].names, inside[i].index = names, raw
	}
	return inside, nil
}

// index reads an index and those in it.
func (o *ociReader) index(d v1.Descriptor, depth int) ([]byte, []candidate, error) {
	if depth > maxDepth {
		return nil, nil, fmt.Errorf("index %s: more than %d indexes in each other", d.Digest, maxDepth)
	}
	if o.seen[d.Digest] {
		return nil, nil, nil
	}
	o.seen[d.Digest] = true
	raw, err := o.small(d, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	var idx v1.Index
	if err := parseJSON(raw, &idx, "index "+d.Digest.String()); err != nil {
		return nil, nil, err
	}
	var all []candidate
	for _, m := range idx.Manifests {
		switch {
		case isAttestation(m):
		case isIndex(m.MediaType):
			_, inside, err := o.index(m, depth+1)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, inside...)
		default:
			c, err := o.candidate(m, nil, nil)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, c)
		}
	}
	return raw, all, nil
}

func (o *ociReader) candidate(d v1.Descriptor, names []string, index []byte) (candidate, error) {
	c := candidate{desc: d, names: names, index: index}
	switch {
	case d.MediaType == v1.MediaTypeImageManifest || d.MediaType == dockerManifest:
	case strings.HasPrefix(d.MediaType, dockerSchema1):
		return c, fmt.Errorf("manifest %s: schema 1, which Docker gave up in 2017, is not read", d.Digest)
	default:
		return c, fmt.Errorf("manifest %s: media type %q is not an image's", d.Digest, d.MediaType)
	}
	if p := d.Platform; p != nil && p.OS != "" && p.Architecture != "" {
		c.platform, c.declared = image.Platform{OS: p.OS, Arch: p.Architecture, Variant: p.Variant}, true
	}
	return c, nil
}

// descriptorNames are the names that annotations give an image. A bare word
// is a name for podman and skopeo, and a tag for BuildKit, which then writes
// the whole name beside it. A whole name with another tag was left there by a
// program that only knows the other annotation, such as umoci.
func descriptorNames(d v1.Descriptor) []string {
	whole, name := d.Annotations[annotationName], d.Annotations[v1.AnnotationRefName]
	if whole != "" && (name == "" || name == whole || name == "latest" || strings.HasSuffix(whole, ":"+name)) {
		name = whole
	}
	if name == "" || name == "latest" {
		return nil
	}
	return []string{name}
}

func isIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == dockerList
}

// isAttestation reports whether an entry of an index is no image but speaks
// about one (BuildKit's attestation storage format).
func isAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || d.ArtifactType != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// merge makes one candidate of what is there under several names.
func merge(all []candidate) []candidate {
	var out []candidate
	for _, c := range all {
		i := slices.IndexFunc(out, func(o candidate) bool { return o.desc.Digest == c.desc.Digest && string(o.index) == string(c.index) })
		if i < 0 {
			out = append(out, c)
			continue
		}
		for _, n := range c.names {
			if !slices.Contains(out[i].names, n) {
				out[i].names = append(slices.Clone(out[i].names), n)
			}
		}
	}
	return out
}

// choose takes one of each group of candidates with the same names: the one
// that fits the platform best. Images without a declared platform are no
// choice, and stay.
func choose(all []candidate, want Want) ([]candidate, error) {
	var out []candidate
	done := map[string]bool{}
	for _, c := range all {
		key := strings.Join(c.names, " ")
		if !c.declared || key == "" && c.index == nil && len(all) == 1 {
			out = append(out, c)
			continue
		}
		if done[key] {
			continue
		}
		done[key] = true
		group := slices.DeleteFunc(slices.Clone(all), func(o candidate) bool { return !o.declared || strings.Join(o.names, " ") != key })
		if len(group) == 1 {
			out = append(out, c)
			continue
		}
		best, err := fittest(group, want)
		if err != nil {
			return nil, err
		}
		out = append(out, best)
	}
	return out, nil
}

func fittest(group []candidate, want Want) (candidate, error) {
	best, grade := candidate{}, 0
	fail := &PlatformError{Want: want.Platform}
	for _, c := range group {
		if g := image.Fit(want.Platform, c.platform); g > grade {
			best, grade = c, g
		}
		if !slices.Contains(fail.Have, c.platform) {
			fail.Have = append(fail.Have, c.platform)
		}
	}
	if grade > 0 {
		return best, nil
	}
	if n := group[0].names; len(n) > 0 {
		fail.Name = n[0]
	}
	return best, fail
}

// image reads the manifest and configuration of a candidate, and finds its
// layers.
func (o *ociReader) image(c candidate) (*Image, error) {
	raw, err := o.small(c.desc, maxManifest)
	if err != nil {
		return nil, err
	}
	img := &Image{Names: c.names, Manifest: raw, Index: c.index}
	if err := o.fill(img, c.desc.MediaType); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", c.desc.Digest, err)
	}
	return img, nil
}

// fill reads what a manifest of a media type refers to.
func (o *ociReader) fill(img *Image, mediaType string) error {
	var m v1.Manifest
	if err := parseJSON(img.Manifest, &m, "read"); err != nil {
		return err
	}
	if m.MediaType != "" && mediaType != "" && m.MediaType != mediaType {
		return fmt.Errorf("it says that it is a %q, its descriptor a %q", m.MediaType, mediaType)
	}
	switch m.Config.MediaType {
	case v1.MediaTypeImageConfig, "application/vnd.docker.container.image.v1+json":
	default:
		return fmt.Errorf("configuration: media type %q is not an image's", m.Config.MediaType)
	}
	for _, d := range m.Layers {
		if err := o.layer(img, d); err != nil {
			return fmt.Errorf("layer %q: %w", string(d.Digest), err)
		}
	}
	config, err := o.small(m.Config, maxConfig)
	if err != nil {
		return err
	}
	img.ConfigName = o.blob(m.Config.Digest)
	return img.setConfig(config)
}

func (o *ociReader) layer(img *Image, d v1.Descriptor) error {
	if err := checkDigest(d.Digest); err != nil {
		return err
	}
	if !strings.Contains(d.MediaType, ".tar") || !strings.Contains(d.MediaType, "layer") && !strings.Contains(d.MediaType, "rootfs") {
		return fmt.Errorf("media type %q is not a layer's", d.MediaType)
	}
	name := o.blob(d.Digest)
	r, size, err := o.files.open(name)
	if err != nil {
		if errors.Is(err, errMissing) && (strings.Contains(d.MediaType, "foreign") || strings.Contains(d.MediaType, "nondistributable")) {
			return fmt.Errorf("it is a foreign layer, which is elsewhere")
		}
		return err
	}
	r.Close()
	if size != d.Size {
		return fmt.Errorf("%d bytes, not %d as the manifest says", size, d.Size)
	}
	img.Layers = append(img.Layers, Layer{
		Name: name, Digest: d.Digest, Size: d.Size, MediaType: d.MediaType,
		Open: func() (io.ReadCloser, error) {
			r, _, err := o.files.open(name)
			return r, err
		},
	})
	return nil
}

// small reads and verifies a manifest or configuration.
func (o *ociReader) small(d v1.Descriptor, limit int64) ([]byte, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	b, err := readAll(o.files, o.blob(d.Digest), limit)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != d.Size {
		return nil, fmt.Errorf("blob %s: %d bytes, not %d as its descriptor says", d.Digest, len(b), d.Size)
	}
	if got := digest.FromBytes(b); got != d.Digest {
		return nil, fmt.Errorf("blob %s: its bytes have digest %s", d.Digest, got)
	}
	return b, nil
}

// checkDigest sees to it that a digest is one before it becomes a file name.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: not sha256: and 64 hexadecimal digits", string(d))
	}
	return nil
}

// skopeoImages reads what skopeo's dir: transport writes: manifest.json is the
// manifest, blobs are files named by their digits.
func (f *File) skopeoImages(Want) ([]*Image, error) {
	raw, err := readAll(f.files, "manifest.json", maxManifest)
	if err != nil {
		return nil, err
	}
	var is struct {
		MediaType string `json:"mediaType"`
		Manifests []any  `json:"manifests"`
	}
	if err := parseJSON(raw, &is, "manifest.json"); err != nil {
		return nil, err
	}
	if isIndex(is.MediaType) || is.Manifests != nil {
		return nil, errors.New("manifest.json: an index; copy one image with skopeo, without --all")
	}
	o := &ociReader{files: f.files, blob: func(d digest.Digest) string { return d.Encoded() }}
	img := &Image{Manifest: raw}
	if err := o.fill(img, ""); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	return []*Image{img}, nil
}
