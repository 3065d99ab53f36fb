package exchange

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"virga/archive"
	"virga/image"
	"virga/registry"
	"virga/storage"
)

func (s *site) pulled(t *testing.T, name string, layers ...v1.Layer) *storage.Image {
	t.Helper()
	ref, _ := s.publish(t, name, layers...)
	img, err := s.x.Pull(t.Context(), ref, registry.Want{Platform: image.Host()}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func reference(t *testing.T, s string) image.Reference {
	t.Helper()
	r, err := image.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// saved is a file of images, each under its own name.
func (s *site) saved(t *testing.T, docker bool, images ...*storage.Image) string {
	t.Helper()
	var named []Named
	for _, img := range images {
		named = append(named, Named{img, []image.Reference{reference(t, img.Ref)}})
	}
	path := filepath.Join(t.TempDir(), "images.tar")
	err := SaveFile(path, func(f *os.File) error { return s.x.Save(t.Context(), f, named, docker, nil) })
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A pulled image keeps its digests through save and load, and through another
// save.
func TestSaveLoad(t *testing.T) {
	s, other := newSite(t), newSite(t)
	a := s.pulled(t, "a:1", tarLayer(t, "etc/", "", "etc/f", "one"), tarLayer(t, "etc/g", "two"))
	b := s.pulled(t, "b:2", tarLayer(t, "etc/", "", "etc/f", "one"))
	for _, docker := range []bool{true, false} {
		path := s.saved(t, docker, a, b)
		got, err := other.x.Load(t.Context(), path, LoadOptions{Want: archive.Want{Platform: image.Host()}})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0].Ref != a.Ref || got[0].Digest != a.Digest || got[0].ID != a.ID || got[1].Digest != b.Digest {
			t.Errorf("docker=%v: loaded %+v", docker, got)
		}
		if data, err := os.ReadFile(other.store.TreePath(got[0].Chain[0]) + "/etc/g"); err != nil || string(data) != "two" {
			t.Errorf("etc/g is %q, %v", data, err)
		}
		one, _ := os.ReadFile(path)
		two, _ := os.ReadFile(other.saved(t, docker, got[0], got[1]))
		if !bytes.Equal(one, two) {
			t.Errorf("docker=%v: saved again, not the same", docker)
		}
	}
}

// What is wrong with a file gives one error, and nothing a name.
func TestLoadNothing(t *testing.T) {
	s, other := newSite(t), newSite(t)
	img := s.pulled(t, "a:1", tarLayer(t, "etc/", "", "etc/f", strings.Repeat("content of the file ", 50)))
	good, err := os.ReadFile(s.saved(t, true, img))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	damaged := bytes.Clone(good)
	damaged[bytes.Index(damaged, []byte("content of the file"))]++
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var bomb bytes.Buffer
	zw := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(zw, zeros{}, 1<<20); err != nil {
		t.Fatal(err)
	}
	zw.Close()
	for _, tt := range []struct{ path, want string }{
		{at("damaged", damaged), "digest"},
		{at("short", good[:len(good)-2000]), "ends early"},
		{at("page.html", []byte("<html>"+strings.Repeat("x", 1000))), "neither a tar nor compressed"},
		{at("empty", nil), "no index.json"},
		{at("zeros.gz", bomb.Bytes()), "no index.json"},
		{at("short.gz", gzipped(t, good)[:500]), "ends early"},
		{fifo, "nothing in it"},
		{filepath.Join(dir, "missing"), "no such file"},
		{"/dev/null", "nothing in it"},
		{dir, "no index.json"},
	} {
		_, err := other.x.Load(t.Context(), tt.path, LoadOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want one with %q", tt.path, err, tt.want)
		}
		all, err := other.store.Images()
		if err != nil || len(all) != 0 {
			t.Errorf("%s: images %v, %v", tt.path, all, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	if _, err := zw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A file that could not be written leaves the one that was there.
func TestSaveFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	fail := errors.New("no")
	if err := SaveFile(path, func(f *os.File) error { f.WriteString("new"); return fail }); !errors.Is(err, fail) {
		t.Errorf("error is %v", err)
	}
	names, _ := os.ReadDir(filepath.Dir(path))
	if b, _ := os.ReadFile(path); string(b) != "old" || len(names) != 1 {
		t.Errorf("%q, %d files", b, len(names))
	}
}
