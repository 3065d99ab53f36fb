package archive

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// Entry is an image in manifest.json (moby, image/spec/v1.2.md).
type Entry struct {
	Config   string   // its place in the file
	RepoTags []string // nil where it is null or missing
	Layers   []string // their places, bottom first
}

// Listing is the manifest.json of a docker-archive.
type Listing struct {
	Raw     []byte
	Entries []Entry
	Images  []*Image // of the entries, without manifests
}

// Listing reads a docker-archive by its manifest.json, also if it is an OCI
// layout at the same time. It is nil if the file has none.
func (f *File) Listing() (*Listing, error) {
	if !f.files.has("manifest.json") || f.isSkopeo() {
		return nil, nil
	}
	var l Listing
	var err error
	if l.Raw, l.Entries, err = f.dockerEntries(); err != nil {
		return nil, err
	}
	if len(l.Entries) == 0 {
		return nil, errNoImage
	}
	for i, e := range l.Entries {
		img, err := f.dockerImage(e)
		if err != nil {
			return nil, fmt.Errorf("manifest.json: image %d: %w", i+1, err)
		}
		l.Images = append(l.Images, img)
	}
	return &l, nil
}

func (f *File) dockerEntries() ([]byte, []Entry, error) {
	b, err := readAll(f.files, "manifest.json", maxManifest)
	if err != nil {
		return nil, nil, err
	}
	var list []Entry
	return b, list, parseJSON(b, &list, "manifest.json")
}

// dockerNames gives images of a layout the names that manifest.json beside it
// has for them, which are whole where the annotations may be tags only.
func (f *File) dockerNames(images []*Image) error {
	if !f.files.has("manifest.json") {
		return nil
	}
	_, list, err := f.dockerEntries()
	if err != nil {
		return err
	}
	for _, img := range images {
		id := digest.FromBytes(img.Config).Encoded()
		for _, e := range list {
			if len(e.RepoTags) > 0 && strings.TrimSuffix(path.Base(e.Config), ".json") == id {
				img.Names = e.RepoTags
			}
		}
	}
	return nil
}

func (f *File) dockerImages(Want) ([]*Image, error) {
	l, err := f.Listing()
	if err != nil {
		return nil, err
	}
	return l.Images, nil
}

func (f *File) dockerImage(e Entry) (*Image, error) {
	img := &Image{Names: e.RepoTags, ConfigName: e.Config}
	for _, name := range e.Layers {
		l, err := f.plainLayer(name)
		if err != nil {
			return nil, fmt.Errorf("layer: %w", err)
		}
		img.Layers = append(img.Layers, l)
	}
	config, err := readAll(f.files, e.Config, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	// Its name is its digest, for everybody who writes such files but Bazel.
	id := strings.TrimSuffix(path.Base(e.Config), ".json")
	if got := digest.FromBytes(config); digest.NewDigestFromEncoded(digest.SHA256, id).Validate() == nil && id != got.Encoded() {
		return nil, fmt.Errorf("configuration %q: its bytes have digest %s", e.Config, got)
	}
	return img, img.setConfig(config)
}

// plainLayer is a layer that only its place in the file is known of.
func (f *File) plainLayer(name string) (Layer, error) {
	r, size, err := f.files.open(name)
	if err != nil {
		return Layer{}, err
	}
	r.Close()
	return Layer{Name: name, Size: size, Open: func() (io.ReadCloser, error) {
		r, _, err := f.files.open(name)
		return r, err
	}}, nil
}

// legacyLayer is VERSION 1.0's json file (moby, image/spec/v1.md), as far as an
// image configuration can say the same.
type legacyLayer struct {
	ID              string          `json:"id"`
	Parent          string          `json:"parent"`
	Comment         string          `json:"comment"`
	Created         *time.Time      `json:"created"`
	Author          string          `json:"author"`
	Architecture    string          `json:"architecture"`
	OS              string          `json:"os"`
	Config          image.RunConfig `json:"config"`
	ContainerConfig struct {
		Cmd []string
	} `json:"container_config"`
}

// legacyImages reads files of before Docker 1.10: repositories maps names and
// tags to the top layers.
func (f *File) legacyImages(Want) ([]*Image, error) {
	b, err := readAll(f.files, "repositories", maxManifest)
	if err != nil {
		return nil, err
	}
	var repos map[string]map[string]string
	if err := parseJSON(b, &repos, "repositories"); err != nil {
		return nil, err
	}
	names := map[string][]string{}
	var tops []string
	for _, repo := range slices.Sorted(maps.Keys(repos)) {
		for _, tag := range slices.Sorted(maps.Keys(repos[repo])) {
			top := repos[repo][tag]
			if names[top] == nil {
				tops = append(tops, top)
			}
			names[top] = append(names[top], repo+":"+tag)
		}
	}
	var all []*Image
	for _, top := range tops {
		img, err := f.legacyImage(top)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", names[top][0], err)
		}
		img.Names = names[top]
		all = append(all, img)
	}
	return all, nil
}

// legacyImage follows the parents from the top layer and makes the
// configuration that Docker made of them when it changed its format.
func (f *File) legacyImage(top string) (*Image, error) {
	var chain []legacyLayer
	seen := map[string]bool{}
	for id := top; id != ""; id = chain[len(chain)-1].Parent {
		if seen[id] {
			return nil, fmt.Errorf("layer %q: its parents go in circles", id)
		}
		seen[id] = true
		if digest.NewDigestFromEncoded(digest.SHA256, id).Validate() != nil {
			return nil, fmt.Errorf("layer %q: not 64 hexadecimal digits", id)
		}
		b, err := readAll(f.files, id+"/json", maxConfig)
		if err != nil {
			return nil, err
		}
		var l legacyLayer
		if err := parseJSON(b, &l, id+"/json"); err != nil {
			return nil, err
		}
		if l.ID != "" && l.ID != id {
			return nil, fmt.Errorf("layer %q: it says that it is %q", id, l.ID)
		}
		l.ID = id
		chain = append(chain, l)
	}
	if len(chain) == 0 {
		return nil, errors.New("no top layer")
	}
	last := chain[0]
	c := &image.Config{Created: last.Created, Author: last.Author, Architecture: last.Architecture, OS: last.OS, Config: last.Config}
	if c.OS == "" {
		c.OS = "linux"
	}
	if c.Architecture == "" {
		c.Architecture = "amd64" // the only one there was
	}
	img := &Image{}
	for _, l := range slices.Backward(chain) {
		layer, err := f.plainLayer(l.ID + "/layer.tar")
		if err != nil {
			return nil, err
		}
		id, err := digestOf(layer)
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.ID, err)
		}
		img.Layers = append(img.Layers, layer)
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, id)
		c.History = append(c.History, image.History{Created: l.Created, CreatedBy: strings.Join(l.ContainerConfig.Cmd, " "), Author: l.Author, Comment: l.Comment})
	}
	b, err := c.Encode()
	if err != nil {
		return nil, err
	}
	return img, img.setConfig(b)
}

func digestOf(l Layer) (digest.Digest, error) {
	r, err := l.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	return digest.SHA256.FromReader(r)
}
