package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
)

// part is a member of an image file; body is JSON unless it is a string or
// bytes.
type part struct {
	name string
	body any
	link string
	kind byte
}

func bytesOf(t testing.TB, v any) []byte {
	t.Helper()
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pack(t testing.TB, parts ...part) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, p := range parts {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: p.name, Mode: 0o644}
		var body []byte
		if p.kind != 0 {
			h.Typeflag, h.Linkname = p.kind, p.link
		} else {
			body = bytesOf(t, p.body)
			h.Size = int64(len(body))
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func blobPart(t testing.TB, v any) part {
	b := bytesOf(t, v)
	return part{name: layoutBlob(digest.FromBytes(b)), body: b}
}

func descriptor(t testing.TB, mediaType string, v any) v1.Descriptor {
	b := bytesOf(t, v)
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

type object = map[string]any

// one is an image of a layer that says what it is.
func one(t testing.TB, arch, layer string) (config []byte, manifest []byte, parts []part) {
	config = bytesOf(t, object{"os": "linux", "architecture": arch, "rootfs": object{"type": "layers", "diff_ids": []digest.Digest{digest.FromString(layer)}}})
	manifest = bytesOf(t, object{
		"schemaVersion": 2, "config": descriptor(t, v1.MediaTypeImageConfig, config),
		"layers": []v1.Descriptor{descriptor(t, v1.MediaTypeImageLayer, layer)},
	})
	return config, manifest, []part{blobPart(t, config), blobPart(t, manifest), blobPart(t, layer)}
}

func named(d v1.Descriptor, name string) v1.Descriptor {
	d.Annotations = map[string]string{v1.AnnotationRefName: name}
	return d
}

func on(d v1.Descriptor, arch string) v1.Descriptor {
	d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
	return d
}

func layout(t testing.TB, parts []part, list ...v1.Descriptor) []part {
	return append([]part{{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`}, {name: "index.json", body: object{"schemaVersion": 2, "manifests": list}}}, parts...)
}

func list(b []byte, want Want) ([]*Image, error) {
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Images(want)
}

func describe(t *testing.T, images []*Image) string {
	t.Helper()
	var out []string
	for _, img := range images {
		s := fmt.Sprintf("%v %s", img.Names, img.Parsed.Architecture)
		for _, l := range img.Layers {
			r, err := l.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if digest.FromBytes(b) != l.DiffID {
				t.Errorf("layer %q has diff ID %s", b, l.DiffID)
			}
			s += " " + string(b)
		}
		if img.Index != nil {
			s += " indexed"
		}
		if img.Manifest == nil {
			s += " without manifest"
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func amd64() Want { return Want{Platform: image.Platform{OS: "linux", Arch: "amd64"}} }

const legacyTop = "1111111111111111111111111111111111111111111111111111111111111111"
const legacyBase = "2222222222222222222222222222222222222222222222222222222222222222"

func legacyParts(parent string) []part {
	return []part{
		{name: "repositories", body: object{"app": object{"1": legacyTop}}},
		{name: legacyTop + "/VERSION", body: "1.0"},
		{name: legacyTop + "/json", body: object{"id": legacyTop, "parent": legacyBase, "architecture": "amd64", "config": object{"Cmd": []string{"/x"}}, "container_config": object{"Cmd": []string{"made", "so"}}}},
		{name: legacyTop + "/layer.tar", body: "top"},
		{name: legacyBase + "/json", body: object{"id": legacyBase, "parent": parent}},
		{name: legacyBase + "/layer.tar", body: "base"},
	}
}

func TestImages(t *testing.T) {
	c1, m1, p1 := one(t, "amd64", "layer of amd64")
	_, m2, p2 := one(t, "arm64", "layer of arm64")
	d1, d2 := descriptor(t, v1.MediaTypeImageManifest, m1), descriptor(t, v1.MediaTypeImageManifest, m2)
	both := append(append([]part{}, p1...), p2...)
	index := object{"schemaVersion": 2, "manifests": []v1.Descriptor{on(d2, "arm64"), on(d1, "amd64"), on(d1, "unknown")}}
	nested := object{"schemaVersion": 2, "manifests": []v1.Descriptor{descriptor(t, v1.MediaTypeImageIndex, index)}}
	id := digest.FromBytes(c1).Encoded()
	dockerTags := func(layer string) object {
		return object{"Config": id + ".json", "RepoTags": []string{"app:1", "app:2"}, "Layers": []string{layer}}
	}
	for _, tt := range []struct {
		name  string
		parts []part
		want  string
	}{
		{"layout", layout(t, p1, named(d1, "app")), "[app] amd64 layer of amd64"},
		{"two images", layout(t, both, named(d1, "a"), named(d2, "b")), "[a] amd64 layer of amd64; [b] arm64 layer of arm64"},
		{"one image, two names", layout(t, p1, named(d1, "a"), named(d1, "b")), "[a b] amd64 layer of amd64"},
		{"platforms side by side", layout(t, both, on(d2, "arm64"), on(d1, "amd64")), "[] amd64 layer of amd64"},
		{"another platform alone", layout(t, both, on(d2, "arm64")), "[] arm64 layer of arm64"},
		{"index", layout(t, append(both, blobPart(t, index)), named(descriptor(t, v1.MediaTypeImageIndex, index), "app")), "[app] amd64 layer of amd64 indexed"},
		{"index in an index", layout(t, append(both, blobPart(t, index), blobPart(t, nested)), named(descriptor(t, v1.MediaTypeImageIndex, nested), "app")), "[app] amd64 layer of amd64 indexed"},
		{"docker", append(p1, part{name: "manifest.json", body: []object{dockerTags(layoutBlob(digest.FromString("layer of amd64")))}}, part{name: id + ".json", body: c1}),
			"[app:1 app:2] amd64 layer of amd64 without manifest"},
		{"docker, names with ./", []part{{name: "./manifest.json", body: []object{dockerTags("l/layer.tar")}}, {name: "./" + id + ".json", body: c1}, {name: "./l/layer.tar", body: "layer of amd64"}},
			"[app:1 app:2] amd64 layer of amd64 without manifest"},
		{"docker, repeated layers are links", []part{{name: "manifest.json", body: []object{dockerTags("a/layer.tar")}}, {name: id + ".json", body: c1},
			{name: "b/layer.tar", body: "layer of amd64"}, {name: "a/layer.tar", kind: tar.TypeSymlink, link: "../c/layer.tar"}, {name: "c/layer.tar", kind: tar.TypeLink, link: "b/layer.tar"}},
			"[app:1 app:2] amd64 layer of amd64 without manifest"},
		{"both forms: digests of the layout, names of docker", append(layout(t, p1, named(d1, "1")), part{name: "manifest.json", body: []object{dockerTags("x")}}),
			"[app:1 app:2] amd64 layer of amd64"},
		{"before Docker 1.10", legacyParts(""), "[app:1] amd64 base top without manifest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := pack(t, tt.parts...)
			images, err := list(b, amd64())
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(t, images); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			// The same, unpacked, and through a pipe.
			dir := t.TempDir()
			for _, p := range tt.parts {
				writePart(t, dir, p)
			}
			f, err := OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if images, err = f.Images(amd64()); err != nil {
				t.Fatal(err)
			}
			if got := describe(t, images); got != tt.want {
				t.Errorf("directory: got %s\nwant %s", got, tt.want)
			}
			var copied bytes.Buffer
			if err := Spool(t.Context(), &copied, io.MultiReader(bytes.NewReader(b))); err != nil || !bytes.Equal(copied.Bytes(), b) {
				t.Errorf("spooled %d bytes of %d: %v", copied.Len(), len(b), err)
			}
		})
	}
}

func writePart(t *testing.T, dir string, p part) {
	t.Helper()
	path := filepath.Join(dir, p.name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	switch p.kind {
	case tar.TypeSymlink:
		err = os.Symlink(p.link, path)
	case tar.TypeLink:
		err = os.Link(filepath.Join(dir, p.link), path)
	default:
		err = os.WriteFile(path, bytesOf(t, p.body), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadFiles(t *testing.T) {
	c1, m1, p1 := one(t, "amd64", "layer")
	d1 := descriptor(t, v1.MediaTypeImageManifest, m1)
	with := func(change func(*v1.Descriptor)) v1.Descriptor { d := named(d1, "app"); change(&d); return d }
	deep := []part{}
	last := any(object{"manifests": []v1.Descriptor{d1}})
	for range maxDepth + 1 {
		deep = append(deep, blobPart(t, last))
		last = object{"manifests": []v1.Descriptor{descriptor(t, v1.MediaTypeImageIndex, last)}}
	}
	deep = append(deep, blobPart(t, last))
	changed := func(from, to string) []part {
		m := bytes.ReplaceAll(m1, []byte(from), []byte(to))
		return layout(t, append(p1, blobPart(t, m)), descriptor(t, v1.MediaTypeImageManifest, m))
	}
	docker := func(config, layer string) []part {
		return append(p1, part{name: "c.json", body: c1}, part{name: "manifest.json", body: []object{{"Config": config, "Layers": []string{layer}}}})
	}
	layerBlob := layoutBlob(digest.FromString("layer"))
	for _, tt := range []struct {
		name  string
		parts []part
		want  string
	}{
		{"not an image", []part{{name: "etc/passwd", body: "root"}}, "not an image file"},
		{"index.json is not JSON", []part{{name: "oci-layout", body: "{}"}, {name: "index.json", body: "<html>"}}, "index.json: invalid character"},
		{"nothing", layout(t, nil), "there is no image in it"},
		{"digest like a path", layout(t, p1, with(func(d *v1.Descriptor) { d.Digest = "sha256:../../../../etc/passwd" })), "not sha256: and 64 hexadecimal digits"},
		{"digest of another kind", layout(t, p1, with(func(d *v1.Descriptor) { d.Digest = digest.Digest("sha512:" + strings.Repeat("ab", 64)) })), "not sha256"},
		{"manifest of another size", layout(t, p1, with(func(d *v1.Descriptor) { d.Size++ })), "not " + fmt.Sprint(len(m1)+1)},
		{"manifest of another digest", layout(t, append(p1[:1:1], part{name: p1[1].name, body: bytes.ReplaceAll(m1, []byte("2"), []byte("3"))}, p1[2]), named(d1, "app")), "its bytes have digest"},
		{"manifest missing", layout(t, p1[:1], named(d1, "app")), "missing in the file"},
		{"media type of something else", layout(t, p1, with(func(d *v1.Descriptor) { d.MediaType = "text/html" })), `media type "text/html" is not an image's`},
		{"schema 1", layout(t, p1, with(func(d *v1.Descriptor) { d.MediaType = dockerSchema1 + "prettyjws" })), "schema 1"},
		{"configuration of something else", changed(v1.MediaTypeImageConfig, "application/vnd.cncf.helm.config.v1+json"), "helm"},
		{"layer of something else", changed(v1.MediaTypeImageLayer, "application/json"), `media type "application/json" is not a layer's`},
		{"layer of another size", changed(`"size":5`, `"size":6`), "5 bytes, not 6"},
		{"layer like a path", changed(digest.FromString("layer").String(), "sha256:../x"), "not sha256: and 64"},
		{"indexes too deep", layout(t, append(p1, deep...), named(descriptor(t, v1.MediaTypeImageIndex, last), "app")), "indexes in each other"},
		{"member twice", append(layout(t, p1, named(d1, "app")), p1[2]), "is there twice"},
		{"member that leaves", append(docker("c.json", "../layer.tar"), part{name: "../layer.tar", body: "layer"}), "leaves the file"},
		{"link that leaves", append(docker("c.json", "l.tar"), part{name: "l.tar", kind: tar.TypeSymlink, link: "../../etc/passwd"}), "leaves the file"},
		{"absolute link", append(docker("c.json", "l.tar"), part{name: "l.tar", kind: tar.TypeSymlink, link: "/etc/passwd"}), "is a link out of the file"},
		{"links in circles", append(docker("c.json", "a"), part{name: "a", kind: tar.TypeSymlink, link: "b"}, part{name: "b", kind: tar.TypeSymlink, link: "a"}), "in circles"},
		{"layer that is a device", append(docker("c.json", "a"), part{name: "a", kind: tar.TypeChar}), "is not a plain file"},
		{"layer missing", docker("c.json", "a"), `"a": missing in the file`},
		{"configuration is not what its name says", append(docker(strings.Repeat("0", 64)+".json", layerBlob), part{name: strings.Repeat("0", 64) + ".json", body: c1}), "its bytes have digest"},
		{"configuration of more layers", append(p1, part{name: "c.json", body: c1}, part{name: "manifest.json", body: []object{{"Config": "c.json", "Layers": []string{layerBlob, layerBlob}}}}), "names 1 layers, the manifest 2"},
		{"configuration too large", append(docker("big", layerBlob), part{name: "big", body: make([]byte, maxConfig+1)}), "more than the"},
		{"parents in circles", legacyParts(legacyTop), "in circles"},
		{"parent like a path", legacyParts("../../etc"), "not 64 hexadecimal digits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := list(pack(t, tt.parts...), amd64())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

// A manifest that is named a billion times is looked at once.
func TestManyPathsToOneIndex(t *testing.T) {
	_, m1, parts := one(t, "amd64", "layer")
	last := any(object{"manifests": []v1.Descriptor{on(descriptor(t, v1.MediaTypeImageManifest, m1), "amd64")}})
	for range maxDepth - 1 {
		parts = append(parts, blobPart(t, last))
		many := make([]v1.Descriptor, 1000)
		for i := range many {
			if many[i] = many[0]; i == 0 {
				many[i] = descriptor(t, v1.MediaTypeImageIndex, last)
			}
		}
		last = object{"manifests": many}
	}
	b := pack(t, layout(t, append(parts, blobPart(t, last)), named(descriptor(t, v1.MediaTypeImageIndex, last), "app"))...)
	images, err := list(b, amd64())
	if err != nil || len(images) != 1 {
		t.Errorf("%d images, %v", len(images), err)
	}
}

func TestPlatforms(t *testing.T) {
	_, m1, p1 := one(t, "amd64", "layer")
	d1 := descriptor(t, v1.MediaTypeImageManifest, m1)
	arm := Want{Platform: image.Platform{OS: "linux", Arch: "arm64"}}
	strict := arm
	strict.Strict = true
	alone, choice := pack(t, layout(t, p1, named(d1, "app"))...), pack(t, layout(t, p1, on(d1, "amd64"), on(d1, "386"))...)
	if _, err := list(alone, arm); err != nil {
		t.Errorf("the only image, for another platform: %v", err)
	}
	var no *PlatformError
	if _, err := list(alone, strict); !errors.As(err, &no) || no.Hint() != "there is linux/amd64 (--platform)" {
		t.Errorf("the only image, a platform asked for: %v", err)
	}
	if _, err := list(choice, arm); !errors.As(err, &no) || len(no.Have) != 1 {
		t.Logf("merged: %v", err)
	}
}

func TestTruncated(t *testing.T) {
	_, m1, p1 := one(t, "amd64", strings.Repeat("layer", 2000))
	b := pack(t, layout(t, p1, named(descriptor(t, v1.MediaTypeImageManifest, m1), "app"))...)
	for _, n := range []int{1, 100, 512, 520, len(b) - 8000, len(b) - 2000} {
		if _, err := list(b[:n], amd64()); err == nil {
			t.Errorf("%d of %d bytes: no error", n, len(b))
		}
		if err := Spool(t.Context(), io.Discard, bytes.NewReader(b[:n])); err == nil {
			t.Errorf("%d of %d bytes: no error from a pipe", n, len(b))
		}
	}
}

// What is written can be read, and is the same each time.
func TestWrite(t *testing.T) {
	c1, m1, _ := one(t, "amd64", "layer")
	ref := func(s string) image.Reference {
		r, err := image.ParseReference(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	src := Source{
		Names: []image.Reference{ref("app"), ref("h.example/b:2")}, Manifest: m1, MediaType: v1.MediaTypeImageManifest, Config: c1,
		Platform: image.Platform{OS: "linux", Arch: "amd64"},
		Layers:   []Layer{{Digest: digest.FromString("layer"), Size: 5, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("layer")), nil }}},
	}
	for _, docker := range []bool{true, false} {
		var one, two bytes.Buffer
		for _, w := range []io.Writer{&one, &two} {
			if err := WriteTar(t.Context(), w, []Source{src, src}, docker); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Error("written twice, not the same")
		}
		images, err := list(one.Bytes(), amd64())
		if err != nil {
			t.Fatal(err)
		}
		want := "[docker.io/library/app:latest h.example/b:2] amd64 layer"
		if docker {
			want = "[app:latest h.example/b:2] amd64 layer"
		}
		if got := describe(t, images); got != want {
			t.Errorf("docker=%v: got %s", docker, got)
		}
	}
	src.Layers[0].Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("lay")), nil }
	if err := WriteTar(t.Context(), io.Discard, []Source{src}, true); err == nil {
		t.Error("a short layer was written")
	}
	if err := WriteLayout(t.Context(), t.TempDir(), []Source{src}); err == nil {
		t.Error("a short layer was written to a directory")
	}
}

func FuzzImages(f *testing.F) {
	_, m1, p1 := one(f, "amd64", "layer")
	d1 := descriptor(f, v1.MediaTypeImageManifest, m1)
	index := object{"manifests": []v1.Descriptor{on(d1, "amd64")}}
	f.Add(pack(f, layout(f, p1, named(d1, "app"))...))
	f.Add(pack(f, layout(f, append(p1, blobPart(f, index)), named(descriptor(f, v1.MediaTypeImageIndex, index), "app"))...))
	f.Add(pack(f, append(p1, part{name: "manifest.json", body: []object{{"Config": "c", "Layers": []string{"l"}}}}, part{name: "l", kind: tar.TypeSymlink, link: "m"})...))
	f.Add(pack(f, legacyParts("")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		images, err := list(b, amd64())
		if err != nil {
			return
		}
		for _, img := range images {
			if img.Parsed == nil || len(img.Layers) != len(img.Parsed.RootFS.DiffIDs) || len(img.Layers) == 0 {
				t.Errorf("image %+v", img)
			}
			for _, l := range img.Layers {
				r, err := l.Open()
				if err != nil {
					t.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); err != nil || n != l.Size {
					t.Errorf("layer of %d bytes: %d, %v", l.Size, n, err)
				}
			}
		}
	})
}

func TestNamesInAnnotations(t *testing.T) {
	for _, test := range []struct{ whole, word, want string }{
		{"", "", ""},
		{"", "latest", ""},
		{"", "app", "app"},
		{"docker.io/library/app:1", "", "docker.io/library/app:1"},
		{"docker.io/library/app:latest", "latest", "docker.io/library/app:latest"},
		{"docker.io/library/app:1", "docker.io/library/app:1", "docker.io/library/app:1"},
		{"docker.io/library/app:1", "changed", "changed"},
	} {
		d := v1.Descriptor{Annotations: map[string]string{annotationName: test.whole, v1.AnnotationRefName: test.word}}
		if got := strings.Join(descriptorNames(d), " "); got != test.want {
			t.Errorf("%q and %q: got %q, want %q", test.whole, test.word, got, test.want)
		}
	}
}
