package exchange

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	gname "github.com/google/go-containerregistry/pkg/name"

	"virga/image"
	"virga/registry"
	"virga/storage"
)

// site is a registry and a storage directory.
type site struct {
	host  string
	store *storage.Store
	x     *Exchange
	// broken, if set, answers requests instead of the registry.
	broken func(http.ResponseWriter, *http.Request) bool
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	reg := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.broken == nil || !s.broken(w, r) {
			reg.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	s.host = strings.TrimPrefix(srv.URL, "http://")
	var err error
	if s.store, err = storage.Open(t.Context(), filepath.Join(t.TempDir(), "st"), storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	client, err := registry.New(registry.Options{PlainHTTP: true, Retry: registry.Retry{Attempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.x = New(s.store, client, Options{})
	return s
}

// tarLayer is an uncompressed layer of files, name and content alternating; a
// nil content makes a directory.
func tarLayer(t *testing.T, entries ...string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		h := &tar.Header{Name: entries[i], Mode: 0o644, Size: int64(len(entries[i+1])), Typeflag: tar.TypeReg, Uid: 7}
		if strings.HasSuffix(h.Name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(entries[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(b.Bytes(), types.OCIUncompressedLayer)
}

// publish pushes an image of the layers and returns its reference and digest.
func (s *site) publish(t *testing.T, name string, layers ...v1.Layer) (image.Reference, string) {
	t.Helper()
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	if err != nil {
		t.Fatal(err)
	}
	host := image.Host()
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Config.Cmd = host.OS, host.Arch, []string{"/x"}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	tag, err := gname.NewTag(s.host+"/"+name, gname.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := image.ParseReference(tag.Name())
	if err != nil {
		t.Fatal(err)
	}
	return ref, d.String()
}

func (s *site) want() registry.Want { return registry.Want{Platform: image.Host()} }

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func TestPullFlattensAndPushesTheSameBytes(t *testing.T) {
	s := newSite(t)
	ref, digest := s.publish(t, "a:1", tarLayer(t, "d/", "", "d/gone", "x", "d/kept", "old"), tarLayer(t, "d/.wh.gone", "", "d/kept", "new"))
	img, err := s.x.Pull(t.Context(), ref, s.want(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest.String() != digest {
		t.Errorf("digest %s, want the registry's %s", img.Digest, digest)
	}
	tree := s.store.TreePath(img.Chain[0])
	if got := read(t, tree+"/d/gone") + read(t, tree+"/d/kept"); got != "new" {
		t.Errorf("files hold %q, want \"new\"", got)
	}
	owners, err := s.store.Owners(img.Chain[0])
	if err != nil || owners["d/kept"].UID != 7 {
		t.Errorf("owner %+v, %v; want uid 7", owners["d/kept"], err)
	}
	dest, _ := image.ParseReference(s.host + "/b:2")
	p, err := s.x.Push(t.Context(), img, dest, PushOptions{})
	if err != nil || p.Digest.String() != digest {
		t.Errorf("pushed as %v, %v; want %s", p, err, digest)
	}
}

func TestPullTwiceAsksForNoLayer(t *testing.T) {
	s := newSite(t)
	ref, _ := s.publish(t, "a:1", tarLayer(t, "f", "x"))
	if _, err := s.x.Pull(t.Context(), ref, s.want(), 0); err != nil {
		t.Fatal(err)
	}
	blobs := 0
	s.broken = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			blobs++
		}
		return false
	}
	if _, err := s.x.Pull(t.Context(), ref, s.want(), 0); err != nil {
		t.Fatal(err)
	}
	if blobs > 1 { // the configuration
		t.Errorf("%d blobs were asked for", blobs)
	}
}

// TestPullOfTheSameFilesInOtherBytes: two images of one tree, whose layers are
// compressed differently, are each pushed as they came.
func TestPullOfTheSameFilesInOtherBytes(t *testing.T) {
	s := newSite(t)
	plain := tarLayer(t, "f", "x")
	compressed, err := tarball.LayerFromOpener(plain.Uncompressed)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]v1.Layer{"plain": plain, "gzip": compressed} {
		ref, digest := s.publish(t, name+":1", l)
		img, err := s.x.Pull(t.Context(), ref, s.want(), 0)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := newSite(t)
		dest, _ := image.ParseReference(elsewhere.host + "/" + name + ":1")
		if p, err := s.x.Push(t.Context(), img, dest, PushOptions{}); err != nil || p.Digest.String() != digest {
			t.Errorf("%s: pushed as %v, %v; want %s", name, p, err, digest)
		}
	}
	if trees, err := os.ReadDir(filepath.Dir(filepath.Dir(s.store.TreePath("x")))); err != nil || len(trees) != 1 {
		t.Errorf("%d trees, %v; want 1", len(trees), err)
	}
}

func TestDamagedLayerLeavesNothing(t *testing.T) {
	s := newSite(t)
	ref, _ := s.publish(t, "a:1", tarLayer(t, "f", strings.Repeat("x", 100000)))
	layers := 0
	s.broken = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		if layers++; layers == 1 {
			return false // the configuration comes first
		}
		fmt.Fprint(w, strings.Repeat("y", 102400))
		return true
	}
	_, err := s.x.Pull(t.Context(), ref, s.want(), 0)
	if err == nil || !strings.Contains(err.Error(), "sha256:") {
		t.Fatalf("error %v, want one that names the blob", err)
	}
	if _, err := s.store.Image(ref); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the image is there: %v", err)
	}
	problems, err := s.store.Check(t.Context(), storage.CheckOptions{})
	if err != nil || len(problems) > 0 {
		t.Errorf("storage: %v, %v", problems, err)
	}
	s.broken = nil
	if _, err := s.x.Pull(t.Context(), ref, s.want(), 0); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestImportUnpackRoundTrip(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"bin/x": "prog", "ch/metadata.json": `{"env":{"A":"1"},"cwd":"/w","labels":{"l":"v"}}`} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ref, _ := image.ParseReference("imported:1")
	img, err := s.x.Import(t.Context(), dir, ref)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.store.Config(img)
	if err != nil || c.Config.WorkingDir != "/w" || c.Config.Labels["l"] != "v" || len(c.Config.Env) != 1 || c.Config.Env[0] != "A=1" {
		t.Errorf("configuration %+v, %v", c.Config, err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := s.x.Unpack(t.Context(), img, out); err != nil {
		t.Fatal(err)
	}
	if got := read(t, out+"/bin/x"); got != "prog" {
		t.Errorf("unpacked %q", got)
	}
	if err := s.x.Unpack(t.Context(), img, out); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("unpacking over files: %v", err)
	}
}

func TestLastLayer(t *testing.T) {
	s := newSite(t)
	ref, _ := s.publish(t, "a:1", tarLayer(t, "one", "1"), tarLayer(t, "two", "2"))
	img, err := s.x.Pull(t.Context(), ref, s.want(), 1)
	if err != nil {
		t.Fatal(err)
	}
	tree := s.store.TreePath(img.Chain[0])
	if read(t, tree+"/one") != "1" || read(t, tree+"/two") != "" || img.Digest != "" {
		t.Errorf("one layer of two: %q, %q, digest %q", read(t, tree+"/one"), read(t, tree+"/two"), img.Digest)
	}
}

func TestCancelledPullLeavesNothing(t *testing.T) {
	s := newSite(t)
	ref, _ := s.publish(t, "a:1", tarLayer(t, "f", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	s.broken = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			if n++; n > 1 {
				cancel()
			}
		}
		return false
	}
	if _, err := s.x.Pull(ctx, ref, s.want(), 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the cancellation", err)
	}
	if problems, err := s.store.Check(t.Context(), storage.CheckOptions{}); err != nil || len(problems) > 0 {
		t.Errorf("storage: %v, %v", problems, err)
	}
}
