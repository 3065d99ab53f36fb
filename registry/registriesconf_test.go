package registry

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const exampleConf = `
unqualified-search-registries = ["example.com"]
[[registry]]
prefix = "example.com/foo"
location = "internal.example.net/bar"
[[registry.mirror]]
location = "mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "mirror-1.local:5000/mirrors/foo"
insecure = true
[[registry]]
location = "registry.com"
insecure = true
[[registry]]
prefix = "*.wild.org"
blocked = true
[[registry]]
prefix = "good.wild.org"
[[registry]]
prefix = "docker.io/library"
location = "docker.io/library"
[[registry.mirror]]
location = "hub.site/library"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.site/library"
pull-from-mirror = "tag-only"
[[registry]]
location = "digests.com"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.site/d"
[[registry]]
prefix = "one.com/a/b:v1"
location = "two.com/c:v1"
[aliases]
"debian" = "docker.io/library/debian"
"tool" = "site.example.org/team/tool"
"old" = "x.org/old"
`

func loadConf(t *testing.T, main string, dropIns ...string) *RegistriesConf {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "registries.conf"), []byte(main))
	for i, d := range dropIns {
		write(t, filepath.Join(dir, "d", fmt.Sprintf("%d.conf", i)), []byte(d))
	}
	write(t, filepath.Join(dir, "d", "README"), []byte("no TOML"))
	r, err := LoadRegistriesConf(filepath.Join(dir, "registries.conf"), filepath.Join(dir, "d"), filepath.Join(dir, "none"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEndpoints(t *testing.T) {
	r := loadConf(t, exampleConf)
	sum := "@" + digest.FromString("x").String()
	tests := []struct{ ref, want string }{ // host/repo, ! insecure, * mirror
		{"example.com/foo/app:1", "mirror-0.local/mirror-for-foo/app* mirror-1.local:5000/mirrors/foo/app*! internal.example.net/bar/app"},
		{"example.com/food", "example.com/food"},
		{"example.com:5000/foo", "example.com:5000/foo"},
		{"registry.com/a", "registry.com/a!"},
		{"registry.com:443/a", "registry.com:443/a"},
		{"a.b.wild.org/x", "blocked"},
		{"a.wild.org:5000/x", "blocked"},
		{"wild.org/x", "wild.org/x"},
		{"good.wild.org/x", "good.wild.org/x"},
		{"alpine:3", "tags.site/library/alpine* docker.io/library/alpine"},
		{"alpine" + sum, "hub.site/library/alpine* docker.io/library/alpine"},
		{"user/alpine", "docker.io/user/alpine"},
		{"digests.com/a:1", "digests.com/a"},
		{"digests.com/a:1" + sum, "m.site/d/a* digests.com/a"},
		{"one.com/a/b:v1", "two.com/c"},
		{"one.com/a/b:v2", "one.com/a/b"},
	}
	for _, tt := range tests {
		ends, err := r.endpoints(parseRef(t, "%s", tt.ref))
		var got []string
		for _, e := range ends {
			s := e.host + "/" + e.repo
			if e.mirror {
				s += "*"
			}
			if e.insecure {
				s += "!"
			}
			got = append(got, s)
		}
		if errors.Is(err, ErrBlocked) {
			got = []string{"blocked"}
		} else if err != nil {
			t.Error(err)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.ref, s, tt.want)
		}
	}
	if e, err := r.pushEndpoint(parseRef(t, "example.com/foo/app")); err != nil || e.host != "example.com" || e.repo != "foo/app" {
		t.Errorf("pushed to %+v, %v", e, err)
	}
	if _, err := r.pushEndpoint(parseRef(t, "a.wild.org/x")); !errors.Is(err, ErrBlocked) {
		t.Errorf("push to a blocked registry: %v", err)
	}
	if !r.insecure("registry.com") || r.insecure("example.com") || (*RegistriesConf)(nil).insecure("registry.com") {
		t.Error("insecure registries are wrong")
	}
}

func TestQualify(t *testing.T) {
	r := loadConf(t, exampleConf, "[aliases]\n\"tool\" = \"other.example.org/tool\"\n\"old\" = \"\"\n", "[[registry]]\nlocation = \"registry.com\"\nblocked = true\n")
	for in, want := range map[string]string{
		"debian": "docker.io/library/debian", "debian:12": "docker.io/library/debian:12", "tool@sha256:x": "other.example.org/tool@sha256:x",
		"old": "example.com/old", "unknown:1": "example.com/unknown:1", "me/debian": "example.com/me/debian", "": "",
		"tool:5000/x": "tool:5000/x", "a.b/c": "a.b/c", "localhost/x": "localhost/x", "a%b+1": "a%b+1",
	} {
		if got, err := r.Qualify(in); err != nil || got != want {
			t.Errorf("Qualify(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	several := loadConf(t, "unqualified-search-registries = ['a.org', 'b.org']")
	var e *Error
	if got, err := several.Qualify("x:1"); !errors.Is(err, ErrAmbiguous) || !errors.As(err, &e) || !strings.Contains(e.Hint(), "a.org/x:1") {
		t.Errorf("several registries: %q, %v", got, err)
	}
	withHub := loadConf(t, "unqualified-search-registries = ['a.org', 'b.org']", "unqualified-search-registries = ['a.org', 'docker.io']")
	if got, err := withHub.Qualify("x:1"); err != nil || got != "x:1" {
		t.Errorf("several registries with Docker Hub: %q, %v", got, err)
	}
	if _, err := r.endpoints(parseRef(t, "registry.com/a")); !errors.Is(err, ErrBlocked) {
		t.Errorf("a drop-in did not replace the table: %v", err)
	}
	if got, err := (*RegistriesConf)(nil).Qualify("debian"); err != nil || got != "debian" {
		t.Errorf("no configuration: %q, %v", got, err)
	}
}

func TestLoadRegistriesConfRefuses(t *testing.T) {
	for _, bad := range []string{"[[registry]]\ninsecure = true", "nonsense", "[[registry]]\nprefix = \"*.a/b\"", "[[registry]]\nprefix = \"a.*.b\"",
		"[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\ninsecure=true", "[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\nlocation=\"m\"\npull-from-mirror=\"x\""} {
		path := filepath.Join(t.TempDir(), "registries.conf")
		write(t, path, []byte(bad))
		if _, err := LoadRegistriesConf(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	old := loadConf(t, "[registries.insecure]\nregistries = ['a.org']\n[registries.block]\nregistries = ['b.org']\n[registries.search]\nregistries = ['c.org']")
	if got, err := old.Qualify("x"); err != nil || got != "c.org/x" {
		t.Errorf("version 1: %q, %v", got, err)
	}
	if _, err := old.endpoints(parseRef(t, "b.org/x")); !errors.Is(err, ErrBlocked) || !old.insecure("a.org") {
		t.Errorf("version 1: %v", err)
	}
	if r, err := LoadRegistriesConf(""); err != nil || r == nil {
		t.Errorf("no file: %v", err)
	}
}

// The mirror is tried first and, if it has not got the image, the registry;
// what was resolved at one place is fetched from there.
func TestMirrors(t *testing.T) {
	mirror, main := serve(t), serve(t)
	f := mirror.putImage("cache/app", "here", "linux/amd64", random(1000, 1))
	main.putImage("app", "here", "linux/amd64", random(1000, 2))
	g := main.putImage("app", "there", "linux/amd64", random(1000, 3))
	r := loadConf(t, fmt.Sprintf("[[registry]]\nprefix = \"site.example.org\"\nlocation = %q\ninsecure = true\n[[registry.mirror]]\nlocation = %q\n", main.host(), mirror.host()+"/cache"))
	for _, tt := range []struct {
		tag  string
		want fakeImage
		at   *server
		not  *server
	}{{"here", f, mirror, main}, {"there", g, main, mirror}} {
		c := quick(t, Options{Registries: r})
		ref := parseRef(t, "site.example.org/app:%s", tt.tag)
		got, err := c.Resolve(t.Context(), ref, amd64())
		if err != nil || got.Descriptor != tt.want.desc || got.Reference != ref {
			t.Fatalf("%s: %v", tt.tag, err)
		}
		mirror.misbehave(nil)
		main.misbehave(nil)
		b, err := c.Blob(t.Context(), ref, got.Layers[0])
		if err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
		if n := tt.at.count(http.MethodGet, "/blobs/"); n != 1 {
			t.Errorf("%s: %d requests where it was resolved", tt.tag, n)
		}
		if n := tt.not.count(http.MethodGet, ""); n != 0 {
			t.Errorf("%s: %d requests elsewhere", tt.tag, n)
		}
	}
}
