package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
	"virga/layer"
	"virga/registry"
	"virga/storage"
)

// grow adds a layer of one file to an image, as a build does.
func (s *site) grow(t *testing.T, base *storage.Image, name, file, text string) *storage.Image {
	t.Helper()
	work, err := s.store.NewWork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	dir, err := work.Sub("fs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	id, _, err := layer.DiffID(t.Context(), dir, nil, layer.PackOptions{Whiteouts: true})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.store.CommitTree(t.Context(), dir, storage.Tree{ID: storage.NewTreeID(), Layers: []storage.Layer{{DiffID: id}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.store.Config(base)
	if err != nil {
		t.Fatal(err)
	}
	c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, id)
	c.History = append(c.History, image.History{CreatedBy: "RUN " + file})
	ref, err := image.ParseReference(name)
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.x.describe(t.Context(), ref, c, tree)
	if err != nil {
		t.Fatal(err)
	}
	img.Chain = append(append([]storage.TreeID{}, base.Chain...), tree.ID)
	if err := s.x.record(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	return img
}

// manifestAt is what the registry has at name.
func (s *site) manifestAt(t *testing.T, name string) (m ociv1.Manifest, d digest.Digest) {
	t.Helper()
	ref, err := image.ParseReference(s.host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	b, desc, err := s.x.client.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m, desc.Digest
}

func (s *site) push(t *testing.T, img *storage.Image, name string, opts PushOptions) *registry.Pushed {
	t.Helper()
	ref, err := image.ParseReference(s.host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.x.Push(t.Context(), img, ref, opts)
	if err != nil {
		t.Fatalf("push %s: %v", name, err)
	}
	return p
}

// A base layer is never packed anew, whatever is asked for; a new one is
// packed as asked, and the manifest is of the type that was asked for.
func TestPushCompressionAndFormat(t *testing.T) {
	s := newSite(t)
	ref, _ := s.publish(t, "base:1", tarLayer(t, "f", strings.Repeat("base", 1000)))
	base, err := s.x.Pull(t.Context(), ref, s.want(), 0)
	if err != nil {
		t.Fatal(err)
	}
	app := s.grow(t, base, "app", "g", strings.Repeat("new", 10000))
	baseManifest, baseDigest := s.manifestAt(t, "base:1")
	const oci, docker = ociv1.MediaTypeImageManifest, dockerManifest
	for i, tt := range []struct {
		opts           PushOptions
		manifest, last string
	}{
		{PushOptions{Compression: Compression{Type: "zstd"}}, oci, ociv1.MediaTypeImageLayerZstd},
		{PushOptions{Compression: Compression{Type: "none"}}, oci, ociv1.MediaTypeImageLayer},
		{PushOptions{Format: FormatDocker}, docker, dockerLayer + ".gzip"},
		{PushOptions{Format: FormatDocker, Compression: Compression{Type: "none"}}, docker, dockerLayer},
		{PushOptions{Compression: Compression{Type: "gzip", Level: 1}}, oci, ociv1.MediaTypeImageLayerGzip},
		{PushOptions{}, oci, ociv1.MediaTypeImageLayerGzip},
	} {
		name := fmt.Sprintf("app:%d", i)
		s.push(t, app, name, tt.opts)
		m, _ := s.manifestAt(t, name)
		if m.MediaType != tt.manifest || len(m.Layers) != 2 || m.Layers[1].MediaType != tt.last {
			t.Errorf("%+v: %s with layers %v; want %s and %s", tt.opts, m.MediaType, m.Layers, tt.manifest, tt.last)
		}
		if m.Layers[0].Digest != baseManifest.Layers[0].Digest {
			t.Errorf("%+v: the base layer is %s, was %s", tt.opts, m.Layers[0].Digest, baseManifest.Layers[0].Digest)
		}
		back, _ := image.ParseReference(s.host + "/" + name)
		got, err := s.x.Pull(t.Context(), back, s.want(), 0)
		if err != nil || got.ID != app.ID {
			t.Fatalf("%+v: pulled back: %v", tt.opts, err)
		}
	}
	// What came from a registry keeps its digest, unless another format is
	// asked for.
	for _, tt := range []struct {
		opts PushOptions
		same bool
	}{{PushOptions{Compression: Compression{Type: "zstd"}}, true}, {PushOptions{Format: FormatOCI}, true}, {PushOptions{Format: FormatDocker}, false}} {
		p := s.push(t, base, "copy:1", tt.opts)
		if same := p.Digest == baseDigest; same != tt.same {
			t.Errorf("%+v: digest kept: %v, want %v", tt.opts, same, tt.same)
		}
	}
}

func TestParseCompression(t *testing.T) {
	for in, want := range map[string]Compression{"gzip": {"gzip", 0}, "gzip:9": {"gzip", 9}, "zstd:19": {"zstd", 19}, "none": {"none", 0}} {
		if got, err := ParseCompression(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "xz", "gzip:10", "gzip:0", "gzip:", "zstd:23", "none:1", "gzip:x"} {
		if got, err := ParseCompression(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// A layer that the registry has is mounted from where it is known to be, and
// an unchanged image costs no byte, even after its packed layers are gone.
func TestPushMountsAndRemembers(t *testing.T) {
	s := newSite(t)
	ref, _ := s.publish(t, "team/base:1", tarLayer(t, "f", "base"))
	base, err := s.x.Pull(t.Context(), ref, s.want(), 0)
	if err != nil {
		t.Fatal(err)
	}
	app := s.grow(t, base, "app", "g", "new")
	var mu sync.Mutex
	var mounts, sent []string
	s.broken = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/v2/app/blobs/") && len(mounts) == 0:
			w.WriteHeader(http.StatusNotFound) // the fake registry has one store for all repositories
			return true
		case r.URL.Query().Get("mount") != "":
			mounts = append(mounts, r.URL.Query().Get("from"))
			w.WriteHeader(http.StatusCreated)
			return true
		case r.Method == http.MethodPut || r.Method == http.MethodPatch:
			sent = append(sent, r.Method+" "+r.URL.Path)
		}
		return false
	}
	s.push(t, app, "app:1", PushOptions{})
	if len(mounts) != 1 || mounts[0] != "team/base" {
		t.Errorf("mounted from %q, want team/base once", mounts)
	}
	if sent = nil; app.Digest != "" {
		t.Fatal("the image at hand knows its digest")
	}
	m, _ := s.manifestAt(t, "app:1")
	if err := s.store.DropBlob(m.Layers[1].Digest); err != nil {
		t.Fatal(err)
	}
	s.push(t, app, "app:2", PushOptions{})
	if len(sent) != 1 || !strings.Contains(sent[0], "/manifests/") {
		t.Errorf("sent again: %q, want the manifest alone", sent)
	}
	// Another registry gets the same bytes, packed anew.
	other := newSite(t)
	dest, _ := image.ParseReference(other.host + "/app:1")
	if p, err := s.x.Push(t.Context(), app, dest, PushOptions{}); err != nil || p.Uploaded != 3 {
		t.Errorf("elsewhere: %+v, %v", p, err)
	}
	if again, _ := other.manifestAt(t, "app:1"); again.Layers[1].Digest != m.Layers[1].Digest {
		t.Errorf("packed anew as %s, was %s", again.Layers[1].Digest, m.Layers[1].Digest)
	}
}

// A push that the registry refuses ends while layers are still to be packed.
func TestPushRefusedEarly(t *testing.T) {
	s := newSite(t)
	ref, _ := s.publish(t, "base:1", tarLayer(t, "f", "base"))
	img, err := s.x.Pull(t.Context(), ref, s.want(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		img = s.grow(t, img, fmt.Sprintf("app%d", i), "g", fmt.Sprint(i))
	}
	s.broken = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusForbidden)
		}
		return r.Method == http.MethodPost
	}
	dest, _ := image.ParseReference("localhost:" + s.host[strings.LastIndexByte(s.host, ':')+1:] + "/x:1")
	_, err = s.x.Push(context.WithoutCancel(t.Context()), img, dest, PushOptions{})
	if err == nil || strings.Contains(err.Error(), "cancel") || !strings.Contains(err.Error(), "403") {
		t.Errorf("got %v, want the registry's refusal", err)
	}
}
