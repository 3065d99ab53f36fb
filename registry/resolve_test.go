package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"virga/image"
)

func TestResolveImage(t *testing.T) {
	s := serve(t)
	f := s.putImage("lib/app", "v1", "linux/amd64", []byte("one"), []byte("two"))
	c := quick(t, Options{})
	for _, ref := range []string{"%s/lib/app:v1", "%s/lib/app@" + f.desc.Digest.String(), "%s/lib/app:other@" + f.desc.Digest.String()} {
		got, err := c.Resolve(t.Context(), parseRef(t, ref, s.host()), amd64())
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		if got.Descriptor != f.desc || digest.FromBytes(got.Manifest) != f.desc.Digest || !bytes.Equal(got.ConfigBytes, f.config) ||
			!slices.Equal(got.Layers, f.descs) || len(got.DiffIDs) != 2 || got.Platform.String() != "linux/amd64" ||
			got.Index != (Descriptor{}) || got.Digest() != f.desc.Digest {
			t.Errorf("%s: got %+v", ref, got)
		}
	}
	head, err := c.Head(t.Context(), parseRef(t, "%s/lib/app:v1", s.host()))
	if err != nil || head != f.desc {
		t.Errorf("Head: %+v, %v; want %+v", head, err, f.desc)
	}
}

// indexOf stores an index of images for platforms. Each image has one layer
// that names its platform.
func (s *server) indexOf(tag string, mt types.MediaType, platforms ...string) Descriptor {
	var list []jsonObject
	for _, p := range platforms {
		f := s.putImage("app", "", p, []byte(p))
		list = append(list, withPlatform(f.desc, p))
	}
	list = append(list, withPlatform(s.putImage("app", "", "", []byte("attestation")).desc, "unknown/unknown"))
	return s.putManifest("app", tag, mt, jsonObject{"schemaVersion": 2, "mediaType": mt, "manifests": list})
}

func withPlatform(d Descriptor, platform string) jsonObject {
	j := descJSON(d)
	part := strings.Split(platform+"//", "/")
	p := jsonObject{"os": part[0], "architecture": part[1]}
	if part[2] != "" {
		p["variant"] = part[2]
	}
	j["platform"] = p
	return j
}

func TestResolvePlatform(t *testing.T) {
	s := serve(t)
	tests := []struct {
		name, want string // want: a platform, or "yolo"
		have       []string
		got        string // empty: not available
	}{
		{"exact", "linux/amd64", []string{"linux/arm64/v8", "linux/amd64"}, "linux/amd64"},
		{"v8 is arm64", "linux/arm64", []string{"linux/amd64", "linux/arm64/v8"}, "linux/arm64/v8"},
		{"arm64/v8 of arm64", "linux/arm64/v8", []string{"linux/arm64"}, "linux/arm64"},
		{"v7 before v6", "linux/arm/v7", []string{"linux/arm/v6", "linux/arm/v7", "linux/arm/v5"}, "linux/arm/v7"},
		{"v7 of v6 and v5", "linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6"}, "linux/arm/v6"},
		{"v6 never of v7", "linux/arm/v6", []string{"linux/arm/v7"}, ""},
		{"amd64/v3 of v2 and v4", "linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, "linux/amd64/v2"},
		{"amd64 never of v2", "linux/amd64", []string{"linux/amd64/v2"}, ""},
		{"missing", "linux/s390x", []string{"linux/amd64", "linux/arm64"}, ""},
		{"windows", "linux/amd64", []string{"windows/amd64"}, ""},
		{"yolo takes amd64", "yolo", []string{"linux/s390x", "linux/amd64"}, "linux/amd64"},
		{"yolo takes the first", "yolo", []string{"linux/s390x", "windows/arm64"}, "linux/s390x"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mt := types.OCIImageIndex
			if i%2 == 1 {
				mt = types.DockerManifestList
			}
			index := s.indexOf("t", mt, tt.have...)
			want := Want{Yolo: tt.want == "yolo"}
			if !want.Yolo {
				want.Platform = mustPlatform(t, tt.want)
			}
			c := quick(t, Options{})
			got, err := c.Resolve(t.Context(), parseRef(t, "%s/app:t", s.host()), want)
			if tt.got == "" {
				var pe *PlatformError
				if !errors.As(err, &pe) || !errors.Is(err, ErrPlatform) || len(pe.Available) != len(tt.have) {
					t.Fatalf("got %v, want a PlatformError of %v", err, tt.have)
				}
				if !strings.Contains(err.Error(), strings.Join(tt.have, ", ")) {
					t.Errorf("%q does not list %v", err, tt.have)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.DiffIDs[0] != digest.FromString(tt.got) || got.Index != index || got.Digest() != index.Digest || digest.FromBytes(got.IndexManifest) != index.Digest {
				t.Errorf("got %+v, want the image for %s", got, tt.got)
			}
			list, err := c.Platforms(t.Context(), parseRef(t, "%s/app:t", s.host()))
			if err != nil || len(list) != len(tt.have) || list[0].String() != tt.have[0] {
				t.Errorf("Platforms = %v, %v; want %v", list, err, tt.have)
			}
		})
	}
}

func mustPlatform(t *testing.T, s string) image.Platform {
	t.Helper()
	p, err := image.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An image without an index: its configuration says what it is.
func TestResolveSinglePlatform(t *testing.T) {
	s := serve(t)
	s.putImage("app", "arm", "linux/arm64", []byte("x"))
	s.putImage("app", "none", "", []byte("x"))
	tests := []struct {
		tag  string
		want Want
		ok   bool
	}{
		{"arm", amd64(), false},
		{"arm", Want{Yolo: true}, true},
		{"arm", Want{Platform: image.Platform{OS: "linux", Arch: "arm64"}}, true},
		{"none", amd64(), true},
		{"none", Want{Platform: image.Platform{OS: "linux", Arch: "arm64"}}, false},
		{"none", Want{Yolo: true}, true},
	}
	for _, tt := range tests {
		_, err := quick(t, Options{}).Resolve(t.Context(), parseRef(t, "%s/app:%s", s.host(), tt.tag), tt.want)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrPlatform) {
			t.Errorf("%s for %+v: %v, want ok %v", tt.tag, tt.want, err, tt.ok)
		}
	}
}

func TestResolveNestedIndexes(t *testing.T) {
	s := serve(t)
	f := s.putImage("app", "", "linux/amd64", []byte("deep"))
	nest := func(inner jsonObject, depth int) Descriptor {
		var d Descriptor
		for i := range depth {
			tag := ""
			if i == depth-1 {
				tag = fmt.Sprintf("depth%d", depth)
			}
			d = s.putManifest("app", tag, types.OCIImageIndex, jsonObject{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": []jsonObject{inner}})
			inner = descJSON(d)
		}
		return d
	}
	nest(withPlatform(f.desc, "linux/amd64"), 3)
	nest(withPlatform(f.desc, "linux/amd64"), 9)
	c := quick(t, Options{})
	got, err := c.Resolve(t.Context(), parseRef(t, "%s/app:depth3", s.host()), amd64())
	if err != nil || got.Descriptor != f.desc {
		t.Errorf("three deep: %v", err)
	}
	_, err = c.Resolve(t.Context(), parseRef(t, "%s/app:depth9", s.host()), amd64())
	if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "nested more than 8 deep") {
		t.Errorf("nine deep: %v", err)
	}
	var many []jsonObject
	for i := range maxIndexes + 1 {
		inner := s.putManifest("app", "", types.OCIImageIndex, jsonObject{"schemaVersion": 2, "manifests": []jsonObject{}, "annotations": jsonObject{"n": fmt.Sprint(i)}})
		many = append(many, descJSON(inner))
	}
	s.putManifest("app", "wide", types.OCIImageIndex, jsonObject{"schemaVersion": 2, "manifests": many})
	_, err = c.Resolve(t.Context(), parseRef(t, "%s/app:wide", s.host()), amd64())
	if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "more than 64 indexes") {
		t.Errorf("too wide: %v", err)
	}
}

// What a registry, or something that stands before it, may answer instead of
// the manifest that was asked for.
func TestResolveRefusesManifest(t *testing.T) {
	s := serve(t)
	f := s.putImage("app", "good", "linux/amd64", []byte("x"))
	config := Descriptor{Digest: digest.FromBytes(f.config), Size: int64(len(f.config)), MediaType: string(types.OCIConfigJSON)}
	layer := f.descs[0]
	doc := func(change func(m jsonObject)) []byte {
		m := jsonObject{"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "config": descJSON(config), "layers": []any{descJSON(layer)}}
		change(m)
		b, _ := json.Marshal(m)
		return b
	}
	layerOf := func(mt string) []byte {
		return doc(func(m jsonObject) {
			m["layers"] = []any{jsonObject{"mediaType": mt, "digest": layer.Digest, "size": layer.Size}}
		})
	}
	tests := []struct {
		name, contentType string
		body              []byte
		digest            string // header, empty: right
		kind              error
		says              string
	}{
		{name: "plain JSON is told by its content", contentType: "application/json", body: doc(func(jsonObject) {})},
		{name: "no mediaType inside", body: doc(func(m jsonObject) { delete(m, "mediaType") })},
		{name: "neither header nor mediaType", contentType: "text/plain", body: doc(func(m jsonObject) { delete(m, "mediaType") })},
		{name: "zstd layer", body: layerOf(string(types.OCILayerZStd))},
		{name: "zstd docker layer", body: layerOf(string(ociZstdDocker))},
		{name: "uncompressed layer", body: layerOf(string(types.OCIUncompressedLayer))},
		{name: "web page", contentType: "text/html", body: []byte("<html>"), kind: ErrProtocol, says: "web page"},
		{name: "no JSON", body: []byte("hello"), kind: ErrProtocol, says: "no JSON"},
		{name: "empty", body: nil, kind: ErrProtocol, says: "no JSON"},
		{name: "trailing text", body: append(doc(func(jsonObject) {}), "{}"...), kind: ErrProtocol, says: "no JSON"},
		{name: "lying digest header", body: doc(func(jsonObject) {}), digest: digest.FromString("x").String(), kind: ErrCorrupt, says: "the registry says"},
		{name: "image and index at once", body: doc(func(m jsonObject) { m["manifests"] = []any{} }), kind: ErrProtocol, says: "at once"},
		{name: "header against document", contentType: string(types.DockerManifestSchema2), body: doc(func(jsonObject) {}), kind: ErrProtocol, says: "the registry says"},
		{name: "index without manifests", contentType: string(types.OCIImageIndex), body: doc(func(m jsonObject) { delete(m, "mediaType") }), kind: ErrProtocol, says: "is not the"},
		{name: "schema 1", contentType: string(types.DockerManifestSchema1Signed), body: []byte(`{"schemaVersion":1,"fsLayers":[]}`), kind: ErrUnsupported, says: "schema 1"},
		{name: "schema 1 as JSON", contentType: "application/json", body: []byte(`{"schemaVersion":1,"name":"x"}`), kind: ErrUnsupported, says: "schema 1"},
		{name: "foreign layer", body: layerOf(string(types.DockerForeignLayer)), kind: ErrUnsupported, says: "layer 1 is foreign"},
		{name: "nondistributable zstd layer", body: layerOf("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"), kind: ErrUnsupported, says: "foreign"},
		{name: "encrypted layer", body: layerOf(string(types.OCILayer) + "+encrypted"), kind: ErrUnsupported, says: "+encrypted"},
		{name: "path-shaped layer digest", body: doc(func(m jsonObject) {
			m["layers"] = []any{jsonObject{"mediaType": types.OCILayer, "digest": "sha256:../../etc", "size": 1}}
		}), kind: ErrProtocol, says: "hex"},
		{name: "layer without digest", body: doc(func(m jsonObject) { m["layers"] = []any{jsonObject{"mediaType": types.OCILayer, "size": 1}} }), kind: ErrProtocol, says: "no digest"},
		{name: "negative size", body: doc(func(m jsonObject) {
			m["layers"] = []any{jsonObject{"mediaType": types.OCILayer, "digest": layer.Digest, "size": -1}}
		}), kind: ErrProtocol, says: "size -1"},
		{name: "a helm chart", body: doc(func(m jsonObject) {
			m["config"] = jsonObject{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config.Digest, "size": config.Size}
		}), kind: ErrUnsupported, says: "no container image"},
		{name: "more layers than diff IDs", body: doc(func(m jsonObject) { m["layers"] = []any{descJSON(layer), descJSON(layer)} }), kind: ErrProtocol, says: "speaks of 1 layers, the manifest of 2"},
		{name: "configuration of another size", body: doc(func(m jsonObject) {
			m["config"] = jsonObject{"mediaType": types.OCIConfigJSON, "digest": config.Digest, "size": config.Size + 1}
		}), kind: ErrCorrupt, says: "the manifest says"},
		{name: "huge configuration", body: doc(func(m jsonObject) {
			m["config"] = jsonObject{"mediaType": types.OCIConfigJSON, "digest": config.Digest, "size": 1 << 40}
		}), kind: ErrProtocol, says: "larger than 8 MiB"},
		{name: "huge manifest", body: bytes.Repeat([]byte(" "), maxManifest+1), kind: ErrProtocol, says: "larger than 4 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/manifests/t") {
					return false
				}
				ct := tt.contentType
				if ct == "" {
					ct = string(types.OCIManifestSchema1)
				}
				d := tt.digest
				if d == "" {
					d = digest.FromBytes(tt.body).String()
				}
				w.Header().Set("Content-Type", ct)
				w.Header().Set("Docker-Content-Digest", d)
				_, _ = w.Write(tt.body)
				return true
			})
			_, err := quick(t, Options{}).Resolve(t.Context(), parseRef(t, "%s/app:t", s.host()), amd64())
			if tt.kind == nil && err != nil || tt.kind != nil && (!errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("got %v; want %v with %q", err, tt.kind, tt.says)
			}
		})
	}
}

// By digest, nothing but the manifest of that digest is taken, be it well
// formed or not: a registry cannot give us another image, and an index cannot
// be made to contain itself.
func TestResolveVerifiesDigest(t *testing.T) {
	s := serve(t)
	f := s.putImage("app", "a", "linux/amd64", []byte("a"))
	other := s.putImage("app", "b", "linux/amd64", []byte("b"))
	index := s.indexOf("i", types.OCIImageIndex, "linux/amd64")
	for _, tt := range []struct {
		name, ref string
		serve     fakeImage
	}{
		{"reference by digest", "@" + f.desc.Digest.String(), other},
		{"entry of an index", ":i", other},
	} {
		s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != "GET" || !strings.Contains(r.URL.Path, "/manifests/sha256:") {
				return false
			}
			r.URL.Path = "/v2/app/manifests/" + tt.serve.desc.Digest.String()
			return false
		})
		_, err := quick(t, Options{}).Resolve(t.Context(), parseRef(t, "%s/app%s", s.host(), tt.ref), amd64())
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", tt.name, err)
		}
	}
	_ = index
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		_, _ = io.WriteString(w, strings.Repeat("{}", len(f.config)/2))
		return true
	})
	if _, err := quick(t, Options{}).Resolve(t.Context(), parseRef(t, "%s/app:a", s.host()), amd64()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("false configuration: got %v, want ErrCorrupt", err)
	}
}

func TestResolveRetriesManifest(t *testing.T) {
	s := serve(t)
	f := s.putImage("app", "t", "linux/amd64", []byte("x"))
	n := 0
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		switch n++; n {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{")
			panic(http.ErrAbortHandler)
		case 3:
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	got, err := quick(t, Options{}).Resolve(t.Context(), parseRef(t, "%s/app:t", s.host()), amd64())
	if err != nil || got.Descriptor != f.desc || n != 4 {
		t.Errorf("got %v after %d requests", err, n)
	}
}

func TestFit(t *testing.T) {
	for _, tt := range []struct {
		want, have string
		ok         bool
	}{
		{"linux/amd64", "linux/amd64/v1", true}, {"linux/amd64", "linux/386", false}, {"linux/arm64", "linux/arm64/v9", false},
		{"linux/arm64/v9", "linux/arm64", true}, {"linux/arm/v5", "linux/arm/v6", false}, {"linux/riscv64", "linux/riscv64", true},
		{"linux/arm/v7", "linux/arm/vX", false}, {"linux/arm64/v8.2", "linux/arm64/v8.1", true}, {"linux/arm64/v8.1", "linux/arm64/v8.2", false},
	} {
		if got := image.Fit(mustPlatform(t, tt.want), mustPlatform(t, tt.have)) > 0; got != tt.ok {
			t.Errorf("Fit(%s, %s) = %v", tt.want, tt.have, got)
		}
	}
}
