package exchange

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/archive"
	"virga/attest"
	"virga/image"
	"virga/layer"
)

// entry is a member of a tar.
type entry struct {
	name string
	body []byte
	link string // target of a symbolic link
}

// writeTar writes a tar and returns its path.
func writeTar(t *testing.T, format tar.Format, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.body)), Typeflag: tar.TypeReg, Format: format}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, b.Bytes())
}

func writeFile(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "img.tar")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compress(t *testing.T, c layer.Compression, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw, err := layer.Compress(&out, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// configOf is a configuration with the diff IDs of layers.
func configOf(t *testing.T, layers ...string) []byte {
	ids := []digest.Digest{}
	for _, l := range layers {
		ids = append(ids, digest.FromString(l))
	}
	return asJSON(t, map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
}

func manifestOf(t *testing.T, entries ...archive.Entry) entry {
	return entry{name: "manifest.json", body: asJSON(t, entries)}
}

// diffIDsOf are the digests of layers as the predicate has them.
func diffIDsOf(layers ...string) []attest.DigestSet {
	var out []attest.DigestSet
	for _, l := range layers {
		out = append(out, attest.Digests(digest.FromString(l)))
	}
	return out
}

func equalJSON(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := asJSON(t, got), asJSON(t, want); !bytes.Equal(g, w) {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// one attests a file that has one image.
func (s *site) one(t *testing.T, path string) attest.OCI {
	t.Helper()
	images := s.all(t, path, AttestOptions{})
	if len(images) != 1 {
		t.Fatalf("%d images, want 1", len(images))
	}
	return images[0]
}

func (s *site) all(t *testing.T, path string, opts AttestOptions) []attest.OCI {
	t.Helper()
	opts.Want.All = opts.Want.Platform == image.Platform{}
	st, err := s.x.Attest(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	images, err := st.Images()
	if err != nil {
		t.Fatal(err)
	}
	return images
}

// Layers count in the order of the manifest, whatever their order, form and
// place in the file.
func TestAttestLayers(t *testing.T) {
	s := newSite(t)
	config := entry{name: "c.json", body: configOf(t, "one", "two")}
	list := func(layers ...string) entry {
		return manifestOf(t, archive.Entry{Config: "c.json", RepoTags: []string{"app:1"}, Layers: layers})
	}
	plain := []entry{config, {name: "1.tar", body: []byte("one")}, {name: "2.tar", body: []byte("two")}, list("1.tar", "2.tar")}
	for _, tc := range []struct {
		name    string
		entries []entry
		layers  []string
	}{
		{"plain", plain, []string{"one", "two"}},
		{"another order in the tar", []entry{plain[3], plain[2], plain[1], plain[0]}, []string{"one", "two"}},
		{"gzip", []entry{config, {name: "1.tar", body: compress(t, layer.Gzip, []byte("one"))}, plain[2], plain[3]}, []string{"one", "two"}},
		{"zstd", []entry{config, plain[1], {name: "2.tar", body: compress(t, layer.Zstd, []byte("two"))}, plain[3]}, []string{"one", "two"}},
		{"the same layer twice", []entry{{name: "c.json", body: configOf(t, "one", "two", "one")}, plain[1], plain[2], list("1.tar", "2.tar", "1.tar")}, []string{"one", "two", "one"}},
		{"a symbolic link", []entry{config, {name: "a/layer.tar", body: []byte("one")}, {name: "b/layer.tar", link: "../a/layer.tar"}, plain[2], list("b/layer.tar", "2.tar")}, []string{"one", "two"}},
		{"names with ./", []entry{{name: "./c.json", body: config.body}, {name: "./1.tar", body: []byte("one")}, {name: "./2.tar", body: []byte("two")}, {name: "./manifest.json", body: plain[3].body}}, []string{"one", "two"}},
		{"no layers", []entry{{name: "c.json", body: configOf(t)}, list()}, nil},
	} {
		for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
			t.Run(fmt.Sprintf("%s %v", tc.name, format), func(t *testing.T) {
				path := writeTar(t, format, tc.entries...)
				got := s.one(t, path)
				equalJSON(t, "diffids", got.DiffIDs, diffIDsOf(tc.layers...))
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				equalJSON(t, "tardigest", got.TarDigest, attest.Digests(digest.FromBytes(whole)))
			})
		}
	}
}

// Every field and subject of an attestation, as cilock writes them.
func TestAttestFields(t *testing.T) {
	s := newSite(t)
	config := configOf(t, "one")
	list := []byte(`[{"Config":"c.json","RepoTags":["app:1","app:2"],"Layers":["1.tar"],"LayerSources":{}}]` + "\n")
	path := writeTar(t, tar.FormatUSTAR, entry{name: "1.tar", body: []byte("one")}, entry{name: "c.json", body: config}, entry{name: "manifest.json", body: list})
	when := time.Unix(1700000000, 5).UTC()
	x := New(s.store, nil, Options{Epoch: &when})
	st, err := x.Attest(t.Context(), path, AttestOptions{Step: "save"})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hex := func(b []byte) string { return digest.FromBytes(b).Encoded() }
	set := func(h string) string { return `{"sha256":"` + h + `"}` }
	const base = "https://aflock.ai/attestations/oci/v0.1"
	var subjects, back []string
	for _, sub := range []struct {
		name string
		hex  string
		back bool
	}{
		{"imageid:" + hex(config), hex(config), true},
		{"imagetag:app:1", hex([]byte("app:1")), true},
		{"imagetag:app:2", hex([]byte("app:2")), true},
		{"layerdiffid00:" + hex([]byte("one")), hex([]byte("one")), false},
		{"manifestdigest:" + hex(list), hex(list), true},
		{"tardigest:" + hex(whole), hex(whole), false},
	} {
		subjects = append(subjects, fmt.Sprintf(`{"name":"%s/%s","digest":%s}`, base, sub.name, set(sub.hex)))
		if sub.back {
			back = append(back, fmt.Sprintf(`"%s/%s":%s`, base, sub.name, set(sub.hex)))
		}
	}
	want := `{"_type":"https://in-toto.io/Statement/v0.1","subject":[` + strings.Join(subjects, ",") +
		`],"predicateType":"https://aflock.ai/attestation-collection/v0.1","predicate":{"name":"save","attestations":[{"type":"` + base +
		`","attestation":{"tardigest":` + set(hex(whole)) +
		`,"manifest":[{"Config":"c.json","RepoTags":["app:1","app:2"],"Layers":["1.tar"]}],"imagetags":["app:1","app:2"],"diffids":[` + set(hex([]byte("one"))) +
		`],"imageid":` + set(hex(config)) + `,"manifestraw":"` + base64.StdEncoding.EncodeToString(list) + `","manifestdigest":` + set(hex(list)) +
		`},"starttime":"2023-11-14T22:13:20.000000005Z","endtime":"2023-11-14T22:13:20.000000005Z"}],"backrefs":{` + strings.Join(back, ",") + `}}}`
	if got := string(asJSON(t, st)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAttestNull(t *testing.T) {
	s := newSite(t)
	path := writeTar(t, tar.FormatUSTAR, entry{name: "c.json", body: configOf(t)}, entry{name: "manifest.json", body: []byte(`[{"Config":"c.json"}]`)})
	got := string(asJSON(t, s.one(t, path)))
	for _, want := range []string{`"manifest":[{"Config":"c.json","RepoTags":null,"Layers":null}]`, `"imagetags":null`, `"diffids":null`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

func TestAttestErrors(t *testing.T) {
	s := newSite(t)
	config := entry{name: "c.json", body: configOf(t, "one")}
	list := func(layers ...string) entry {
		return manifestOf(t, archive.Entry{Config: "c.json", Layers: layers})
	}
	good := entry{name: "1.tar", body: []byte("one")}
	packed := compress(t, layer.Gzip, bytes.Repeat([]byte("one"), 9000))
	for _, tc := range []struct {
		name, want string
		entries    []entry
	}{
		{"layer absent", `layer: "1.tar": missing in the file`, []entry{config, list("1.tar")}},
		{"other bytes", `layer "1.tar": diff ID is ` + digest.FromString("two").String(), []entry{config, {name: "1.tar", body: []byte("two")}, list("1.tar")}},
		{"layers in the wrong order", "diff ID is", []entry{{name: "c.json", body: configOf(t, "one", "two")}, good, {name: "2.tar", body: []byte("two")}, list("2.tar", "1.tar")}},
		{"fewer than the configuration names", "the configuration names 1 layers, the manifest 0", []entry{config, list()}},
		{"more than the configuration names", "the configuration names 1 layers, the manifest 2", []entry{config, good, list("1.tar", "1.tar")}},
		{"no image", "there is no image in it", []entry{{name: "manifest.json", body: []byte("[]")}}},
		{"manifest.json is empty", "manifest.json: unexpected end of JSON input", []entry{{name: "manifest.json"}}},
		{"configuration absent", `configuration: "c.json": missing in the file`, []entry{good, list("1.tar")}},
		{"configuration is not what its name says", "its bytes have digest", []entry{
			{name: strings.Repeat("0", 64) + ".json", body: config.body}, good,
			manifestOf(t, archive.Entry{Config: strings.Repeat("0", 64) + ".json", Layers: []string{"1.tar"}})}},
		{"link out of the file", "is a link out of the file", []entry{config, {name: "1.tar", link: "/etc/passwd"}, list("1.tar")}},
		{"path out of the file", `"../1.tar": missing in the file`, []entry{config, good, list("../1.tar")}},
		{"links in circles", "its links go in circles", []entry{config, {name: "1.tar", link: "2.tar"}, {name: "2.tar", link: "1.tar"}, list("1.tar")}},
		{"gzip ends early", `layer "1.tar": gzip: compressed data ends early`, []entry{config, {name: "1.tar", body: packed[:len(packed)/2]}, list("1.tar")}},
		{"manifest.json twice", `member "manifest.json" is there twice`, []entry{config, good, list("1.tar"), list("1.tar")}},
		{"no image file", "no index.json, manifest.json or repositories", []entry{good}},
		{"an image of before", "of a Docker before 1.10", legacyEntries(t)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := writeTar(t, tar.FormatPAX, tc.entries...)
			st, err := s.x.Attest(t.Context(), path, AttestOptions{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if st != nil {
				t.Error("there is a statement all the same")
			}
		})
	}
}

func legacyEntries(t *testing.T) []entry {
	id := strings.Repeat("1", 64)
	return []entry{
		{name: "repositories", body: asJSON(t, map[string]any{"app": map[string]string{"1": id}})},
		{name: id + "/json", body: asJSON(t, map[string]any{"id": id, "os": "linux"})},
		{name: id + "/layer.tar", body: []byte("one")},
	}
}

func TestAttestSeveralImages(t *testing.T) {
	s := newSite(t)
	path := writeTar(t, tar.FormatUSTAR,
		entry{name: "1.tar", body: []byte("one")}, entry{name: "2.tar", body: []byte("two")},
		entry{name: "a.json", body: configOf(t, "one")}, entry{name: "b.json", body: configOf(t, "two", "one")},
		manifestOf(t, archive.Entry{Config: "a.json", RepoTags: []string{"a:1"}, Layers: []string{"1.tar"}},
			archive.Entry{Config: "b.json", RepoTags: []string{"b:1"}, Layers: []string{"2.tar", "1.tar"}}))
	both := s.all(t, path, AttestOptions{})
	if len(both) != 2 || len(both[0].Manifest) != 2 {
		t.Fatalf("attested: %+v", both)
	}
	equalJSON(t, "first", both[0].DiffIDs, diffIDsOf("one"))
	equalJSON(t, "second", both[1].DiffIDs, diffIDsOf("two", "one"))
	equalJSON(t, "tags of the second", both[1].ImageTags, []string{"b:1"})
	equalJSON(t, "image 2 alone", s.all(t, path, AttestOptions{Image: 2}), both[1:])
	if _, err := s.x.Attest(t.Context(), path, AttestOptions{Image: 3}); err == nil || !strings.Contains(err.Error(), "no image 3 in it, it has 2") {
		t.Errorf("image 3: %v", err)
	}
}

// A damaged image makes the attestation of another one no worse.
func TestAttestOneOfSeveral(t *testing.T) {
	s := newSite(t)
	path := writeTar(t, tar.FormatUSTAR,
		entry{name: "1.tar", body: []byte("one")}, entry{name: "2.tar", body: []byte("damaged")},
		entry{name: "a.json", body: configOf(t, "one")}, entry{name: "b.json", body: configOf(t, "two")},
		manifestOf(t, archive.Entry{Config: "a.json", Layers: []string{"1.tar"}}, archive.Entry{Config: "b.json", Layers: []string{"2.tar"}}))
	if _, err := s.x.Attest(t.Context(), path, AttestOptions{}); err == nil {
		t.Error("a damaged image was attested")
	}
	equalJSON(t, "image 1", s.all(t, path, AttestOptions{Image: 1})[0].DiffIDs, diffIDsOf("one"))
}

// The whole file may be compressed; its digest is that of the file as it is.
func TestAttestCompressedFile(t *testing.T) {
	s := newSite(t)
	plain := writeTar(t, tar.FormatUSTAR, entry{name: "1.tar", body: []byte("one")}, entry{name: "c.json", body: configOf(t, "one")},
		manifestOf(t, archive.Entry{Config: "c.json", Layers: []string{"1.tar"}}))
	raw, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	want := s.one(t, plain)
	// Bytes behind the compressed data are of the file, too.
	behind := append(compress(t, layer.Gzip, raw), make([]byte, 1<<20)...)
	for name, b := range map[string][]byte{"gzip": compress(t, layer.Gzip, raw), "zstd": compress(t, layer.Zstd, raw), "gzip and more": behind} {
		got := s.one(t, writeFile(t, b))
		equalJSON(t, name+": tardigest", got.TarDigest, attest.Digests(digest.FromBytes(b)))
		got.TarDigest = want.TarDigest
		equalJSON(t, name, got, want)
	}
}

// What save writes, what watches it, and what reads it say the same.
func TestAttestSaved(t *testing.T) {
	s := newSite(t)
	ref, manifest := s.publish(t, "app", tarLayer(t, "a", "1"), tarLayer(t, "b", "2"))
	when := time.Unix(1700000000, 0)
	x := New(s.store, s.x.client, Options{Epoch: &when})
	img, err := x.Base(t.Context(), ref, image.Host())
	if err != nil {
		t.Fatal(err)
	}
	named := []Named{{Image: img, Names: []image.Reference{ref}}}
	for _, docker := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "saved.tar")
		watch := x.NewWatch()
		err := SaveFile(path, func(f *os.File) error { return x.Save(t.Context(), watch.Tee(f), named, docker, watch) })
		if err != nil {
			t.Fatal(err)
		}
		want, err := watch.Statement("s")
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.Attest(t.Context(), path, AttestOptions{Step: "s", Want: archive.Want{All: true}})
		if err != nil {
			t.Fatal(err)
		}
		equalJSON(t, fmt.Sprintf("docker %v", docker), got, want)
		if docker {
			continue
		}
		if !got.About(digest.Digest(manifest)) {
			t.Errorf("no subject is the manifest %s", manifest)
		}
		stored, err := x.AttestStored(t.Context(), named, "s")
		if err != nil {
			t.Fatal(err)
		}
		equalJSON(t, "stored", stored, got)
		layout := filepath.Join(t.TempDir(), "layout")
		if err := x.SaveLayout(t.Context(), layout, named); err != nil {
			t.Fatal(err)
		}
		dir := s.one(t, layout)
		whole, err := got.Images()
		if err != nil {
			t.Fatal(err)
		}
		dir.TarDigest = whole[0].TarDigest
		equalJSON(t, "layout", dir, whole[0])
	}
}

// A layer of a layout is compared with its digest, also if what is in it is
// the same.
func TestAttestRepackedLayer(t *testing.T) {
	s := newSite(t)
	body := bytes.Repeat([]byte("one"), 1000)
	first, second := compress(t, layer.Gzip, body), append(compress(t, layer.Gzip, body), 'x')
	config := configOf(t, string(body))
	describe := func(kind string, b []byte, size int) map[string]any {
		return map[string]any{"mediaType": kind, "digest": digest.FromBytes(b), "size": size}
	}
	manifest := asJSON(t, map[string]any{
		"schemaVersion": 2, "config": describe("application/vnd.oci.image.config.v1+json", config, len(config)),
		"layers": []any{describe("application/vnd.oci.image.layer.v1.tar+gzip", first, len(second))},
	})
	index := asJSON(t, map[string]any{"schemaVersion": 2, "manifests": []any{describe("application/vnd.oci.image.manifest.v1+json", manifest, len(manifest))}})
	blob := func(b []byte) string { return "blobs/sha256/" + digest.FromBytes(b).Encoded() }
	path := writeTar(t, tar.FormatUSTAR, entry{name: "oci-layout", body: []byte(`{"imageLayoutVersion":"1.0.0"}`)}, entry{name: "index.json", body: index},
		entry{name: blob(manifest), body: manifest}, entry{name: blob(config), body: config}, entry{name: blob(first), body: second})
	_, err := s.x.Attest(t.Context(), path, AttestOptions{})
	if err == nil || !strings.Contains(err.Error(), "its bytes have digest "+digest.FromBytes(second).String()) {
		t.Errorf("error %v", err)
	}
}

// changing is a Progress that changes a file when a layer is read.
type changing struct {
	path string
	done atomic.Bool
}

func (c *changing) Unpacked(digest.Digest, int64) {
	if c.done.CompareAndSwap(false, true) {
		time.Sleep(20 * time.Millisecond) // another tick of the file system's clock
		f, err := os.OpenFile(c.path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("x"), 0)
			f.Close()
		}
		if err != nil {
			panic(err)
		}
	}
}

func TestAttestChangingFile(t *testing.T) {
	s := newSite(t)
	path := writeTar(t, tar.FormatUSTAR, entry{name: "1.tar", body: []byte("one")}, entry{name: "c.json", body: configOf(t, "one")},
		manifestOf(t, archive.Entry{Config: "c.json", Layers: []string{"1.tar"}}))
	x := New(s.store, nil, Options{Progress: &changing{path: path}})
	if _, err := x.Attest(t.Context(), path, AttestOptions{}); err == nil || !strings.Contains(err.Error(), "it changed while it was read") {
		t.Errorf("error %v", err)
	}
}

func TestAttestCanceled(t *testing.T) {
	s := newSite(t)
	path := writeTar(t, tar.FormatUSTAR, entry{name: "1.tar", body: []byte("one")}, entry{name: "c.json", body: configOf(t, "one")},
		manifestOf(t, archive.Entry{Config: "c.json", Layers: []string{"1.tar"}}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.x.Attest(ctx, path, AttestOptions{}); err == nil {
		t.Error("a cancelled attestation has no error")
	}
}
