package storage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
)

// addOCI stores a whole image as a pull does: layer, configuration, manifest
// and tree.
func addOCI(t testing.TB, s *Store, name string) *Image {
	t.Helper()
	ctx := context.Background()
	var tarball, packed bytes.Buffer
	tw := tar.NewWriter(&tarball)
	tw.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: 3})
	tw.Write([]byte("abc"))
	tw.Close()
	zw := gzip.NewWriter(&packed)
	zw.Write(tarball.Bytes())
	zw.Close()
	layer := must(s.AddBlob(ctx, packed.Bytes()))(t)
	put := func(v any) (digest.Digest, int64) {
		b := must(json.Marshal(v))(t)
		return must(s.AddBlob(ctx, b))(t), int64(len(b))
	}
	host := image.Host()
	config, n := put(v1.Image{
		Platform: v1.Platform{OS: host.OS, Architecture: host.Arch},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(tarball.Bytes())}},
	})
	manifest, _ := put(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: config, Size: n},
		Layers: []v1.Descriptor{{MediaType: v1.MediaTypeImageLayerGzip, Digest: layer, Size: int64(packed.Len())}},
	})
	tree := must(addTree(s, BaseID([]digest.Digest{layer}, ""), "abc"))(t)
	img := Image{Ref: ref(t, name).String(), ID: config, Digest: manifest, Chain: []TreeID{tree.ID}, Platform: host}
	if err := s.PutImage(ctx, img); err != nil {
		t.Fatal(err)
	}
	return &img
}

func TestIndexFollowsImages(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	img := addOCI(t, s, "debian:12")
	must(addImage(s, "built", "no manifest yet"))(t)
	want := func(refs string) {
		t.Helper()
		var x v1.Index
		if err := json.Unmarshal(must(os.ReadFile(s.path(indexFile)))(t), &x); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range x.Manifests {
			got = append(got, m.Annotations[v1.AnnotationRefName])
		}
		if strings.Join(got, " ") != refs {
			t.Errorf("index has %v, want %s", got, refs)
		}
		checkClean(t, s)
	}
	want("debian:12")
	if err := s.Tag(ctx, *img, ref(t, "localhost/x")); err != nil {
		t.Fatal(err)
	}
	want("debian:12 localhost/x:latest")
	must(addImage(s, "localhost/x", "no manifest yet"))(t)
	want("debian:12")
	if _, _, err := s.Delete(ctx, "debian:12"); err != nil {
		t.Fatal(err)
	}
	want("")
	must(s.Undelete(ctx, ref(t, "debian:12")))(t)
	want("debian:12")
	s = settle(t, s)
	collect(t, s, Policy{All: true})
	want("debian:12")
	if err := s.DropBlob(img.Digest); err != nil {
		t.Fatal(err)
	}
	if p := must(s.Check(ctx, CheckOptions{Quick: true}))(t); len(p) == 0 {
		t.Error("check does not miss a manifest")
	}
}

// TestOtherToolsReadStorage: the directory is an OCI image layout, and its
// img/ is Charliecloud's.
func TestOtherToolsReadStorage(t *testing.T) {
	s := newTest(t)
	img := addOCI(t, s, "docker.io/library/debian:12")
	addOCI(t, s, "localhost:5000/a/b:x_Y.z")
	tests := []struct {
		want string
		args []string
	}{
		{img.Digest.String(), []string{"skopeo", "inspect", "oci:" + s.Dir() + ":debian:12"}},
		{`"config"`, []string{"skopeo", "inspect", "--raw", "oci:" + s.Dir() + ":localhost:5000/a/b:x_Y.z"}},
		{"", []string{"skopeo", "copy", "--insecure-policy", "oci:" + s.Dir() + ":debian:12", "dir:" + t.TempDir()}},
		{"debian:12", []string{"umoci", "ls", "--layout", s.Dir()}},
		{"", []string{"umoci", "unpack", "--rootless", "--image", s.Dir() + ":debian:12", t.TempDir() + "/bundle"}},
	}
	for _, test := range tests {
		t.Run(test.args[0]+" "+test.args[1], func(t *testing.T) {
			if _, err := exec.LookPath(test.args[0]); err != nil {
				t.Skip("not installed:", err)
			}
			out, err := exec.Command(test.args[0], test.args[1:]...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), test.want) {
				t.Errorf("%v: %v\n%s", test.args, err, out)
			}
		})
	}
	checkClean(t, s) // they have left nothing
}
