package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
)

// artifact has its type as that of its configuration too: the test's registry
// looks for it there.
func artifact(subject Descriptor, kind, text string) Artifact {
	return Artifact{
		ArtifactType: kind, Config: []byte("{}"), ConfigType: kind, Subject: &subject, Annotations: map[string]string{"n": text},
		Layers: []ArtifactLayer{{Descriptor: Descriptor{MediaType: "text/plain"}, Data: []byte(text), Annotations: map[string]string{"of": "layer"}}},
	}
}

func TestReferrers(t *testing.T) {
	for _, api := range []bool{true, false} {
		t.Run(fmt.Sprintf("API=%v", api), func(t *testing.T) {
			s := serve(t)
			s.inner = ggcr.New(ggcr.WithReferrersSupport(api), ggcr.Logger(log.New(io.Discard, "", 0)))
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				if api && r.Method == "PUT" { // which the test's registry forgets
					w.Header().Set("OCI-Subject", "sha256:...")
				}
				return false
			})
			img := s.putImage("app", "1", "linux/amd64", random(100, 1))
			c, ref := quick(t, Options{}), parseRef(t, "%s/app:1", s.host())
			if list, err := c.Referrers(t.Context(), ref, img.desc.Digest, ""); err != nil || list != nil {
				t.Fatalf("before: %v, %v", list, err)
			}
			to := image.Reference{Host: ref.Host, Path: ref.Path}
			for _, text := range []string{"one", "two", "one"} {
				if _, err := c.PushArtifact(t.Context(), to, artifact(img.desc, "application/x.test", text)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.PushArtifact(t.Context(), to, artifact(img.desc, "application/x.other", "three")); err != nil {
				t.Fatal(err)
			}
			if list, err := c.Referrers(t.Context(), ref, img.desc.Digest, ""); err != nil || len(list) != 3 {
				t.Errorf("all: %v, %v", list, err)
			}
			list, err := c.Referrers(t.Context(), ref, img.desc.Digest, "application/x.test")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range list {
				a, err := c.Artifact(t.Context(), image.Reference{Host: ref.Host, Path: ref.Path, Digest: r.Digest})
				if err != nil {
					t.Fatal(err)
				}
				if a.ArtifactType != "application/x.test" || len(a.Layers) != 1 || a.Subject == nil || *a.Subject != img.desc || a.Layers[0].Annotations["of"] != "layer" {
					t.Errorf("artifact %+v", a)
				}
				b, err := c.SmallBlob(t.Context(), ref, a.Layers[0].Descriptor)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(b))
			}
			if slices.Sort(got); strings.Join(got, " ") != "one two" {
				t.Errorf("referrers hold %q", got)
			}
			if tagged := s.count("PUT", "/manifests/sha256-") > 0; tagged == api {
				t.Errorf("referrers tag written: %v", tagged)
			}
		})
	}
}

// What a registry says wrongly is refused, or left out.
func TestReferrersHostile(t *testing.T) {
	s := serve(t)
	img := s.putImage("app", "1", "linux/amd64", random(100, 1))
	c, ref := quick(t, Options{}), parseRef(t, "%s/app:1", s.host())
	answer := func(contentType, body, link string) {
		s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/referrers/") {
				return false
			}
			w.Header().Set("Content-Type", contentType)
			if link != "" {
				w.Header().Set("Link", link)
			}
			fmt.Fprint(w, body)
			return true
		})
	}
	entry := func(d, size string) string {
		return `{"manifests":[{"mediaType":"` + ociv1.MediaTypeImageManifest + `","digest":"` + d + `","size":` + size + `}]}`
	}
	good := digest.FromString("x").String()
	for _, tt := range []struct {
		name, contentType, body, link string
		n                             int
		says                          string
	}{
		{"good", ociv1.MediaTypeImageIndex, entry(good, "3"), "", 1, ""},
		{"digest is a path", ociv1.MediaTypeImageIndex, entry("sha256:../../x", "3"), "", 0, ""},
		{"negative size", ociv1.MediaTypeImageIndex, entry(good, "-3"), "", 0, ""},
		{"web page", "text/html", "<html>", "", 0, ""},
		{"no JSON", ociv1.MediaTypeImageIndex, "][", "", 0, "read referrers"},
		{"endless", ociv1.MediaTypeImageIndex, entry(good, "3"), `</v2/app/referrers/again>; rel="next"`, 0, "64 pages"},
		{"elsewhere", ociv1.MediaTypeImageIndex, entry(good, "3"), `<http://other.example/v2/>; rel="next"`, 0, "elsewhere"},
	} {
		answer(tt.contentType, tt.body, tt.link)
		list, err := c.Referrers(t.Context(), ref, img.desc.Digest, "")
		switch {
		case tt.says == "" && (err != nil || len(list) != tt.n):
			t.Errorf("%s: %v, %v", tt.name, list, err)
		case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	s.misbehave(nil)
	blob := Descriptor{Digest: s.putBlob("app", []byte("data")), Size: 5}
	if _, err := c.SmallBlob(t.Context(), ref, blob); !errors.Is(err, ErrCorrupt) {
		t.Errorf("blob of another size: %v", err)
	}
	if blob.Size = maxArtifact + 1; !errors.Is(second(c.SmallBlob(t.Context(), ref, blob)), ErrProtocol) {
		t.Error("a large blob was read into memory")
	}
	bad := s.putManifest("app", "bad", types.OCIManifestSchema1, jsonObject{"schemaVersion": 2, "config": jsonObject{}, "layers": []jsonObject{{"digest": "sha256:zz", "size": 1}}})
	if _, err := c.Artifact(t.Context(), image.Reference{Host: ref.Host, Path: "app", Digest: bad.Digest}); !errors.Is(err, ErrProtocol) {
		t.Errorf("bad layer digest: %v", err)
	}
}

func second(_ []byte, err error) error { return err }

// An artifact with a tag, as cosign 2 stores signatures.
func TestPushTaggedArtifact(t *testing.T) {
	s := serve(t)
	c, ref := quick(t, Options{}), parseRef(t, "%s/app:sha256-x.sig", s.host())
	want := Artifact{Config: []byte(`{"a":1}`), ConfigType: ociv1.MediaTypeImageConfig, Layers: []ArtifactLayer{{Data: []byte("payload")}}}
	if _, err := c.PushArtifact(t.Context(), ref, want); err != nil {
		t.Fatal(err)
	}
	body, _, err := c.Manifest(t.Context(), ref)
	var m ociv1.Manifest
	if err := errors.Join(err, json.Unmarshal(body, &m)); err != nil {
		t.Fatal(err)
	}
	if m.Config.MediaType != ociv1.MediaTypeImageConfig || m.Config.Digest != digest.FromString(`{"a":1}`) || m.Subject != nil || len(m.Layers) != 1 || m.Layers[0].Size != 7 {
		t.Errorf("manifest %s", body)
	}
}
