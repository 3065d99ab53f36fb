package image

import (
	"errors"
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	sum := "sha256:" + strings.Repeat("ab", 32)
	tests := []struct{ in, full, short, file string }{
		{"alpine", "docker.io/library/alpine:latest", "alpine:latest", "alpine+latest"},
		{"library/alpine", "docker.io/library/alpine:latest", "alpine:latest", "alpine+latest"},
		{"docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest", "alpine+latest"},
		{"index.docker.io/library/alpine:3", "docker.io/library/alpine:3", "alpine:3", "alpine+3"},
		{"registry-1.docker.io:443/alpine", "docker.io/library/alpine:latest", "alpine:latest", "alpine+latest"},
		{"redis:7", "docker.io/library/redis:7", "redis:7", "redis+7"},
		{"org/app:v1", "docker.io/org/app:v1", "org/app:v1", "org%app+v1"},
		{"localhost/app", "localhost/app:latest", "localhost/app:latest", "localhost%app+latest"},
		{"localhost:5000/a/b/c:1.2", "localhost:5000/a/b/c:1.2", "localhost:5000/a/b/c:1.2", "localhost+5000%a%b%c+1.2"},
		{"127.0.0.1:5000%app+v1", "127.0.0.1:5000/app:v1", "127.0.0.1:5000/app:v1", "127.0.0.1+5000%app+v1"},
		{"[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest", "[++1]+5000%app+latest"},
		{"app@" + sum, "docker.io/library/app@" + sum, "app@" + sum, "app@sha256+" + sum[7:]},
		{"ghcr.io/o/app:1@" + sum, "ghcr.io/o/app:1@" + sum, "ghcr.io/o/app:1@" + sum, "ghcr.io%o%app+1@sha256+" + sum[7:]},
		{"a__b/c-d.e_f", "docker.io/a__b/c-d.e_f:latest", "a__b/c-d.e_f:latest", "a__b%c-d.e_f+latest"},
	}
	for _, tt := range tests {
		r, err := ParseReference(tt.in)
		if err != nil {
			t.Errorf("ParseReference(%q): %v", tt.in, err)
			continue
		}
		if r.Full() != tt.full || r.String() != tt.short || r.FileName() != tt.file {
			t.Errorf("ParseReference(%q) = %q, %q, %q; want %q, %q, %q", tt.in, r.Full(), r.String(), r.FileName(), tt.full, tt.short, tt.file)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, s := range []string{
		"", " ", "a b", "App", "a//b", "/a", "a/", "a:", ":tag", "a@", "a@sha256:12", "a@md5:" + strings.Repeat("0", 32),
		"../x", "a/../b", ".", "a/.b", "-a", "a:" + strings.Repeat("t", 129), strings.Repeat("a", 256), "host:port/a", "a\nb", "a\x00",
	} {
		if r, err := ParseReference(s); !errors.Is(err, ErrReference) {
			t.Errorf("ParseReference(%q) = %+v, %v; want ErrReference", s, r, err)
		}
	}
}

// A reference printed in any of its three forms reads back as itself, and its
// file name never leaves the directory it is used in.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "localhost:5000/a:b", "a%b+c", "a@sha256:" + strings.Repeat("0", 64), "[::1]:1/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		if strings.Contains(r.FileName(), "/") || strings.HasPrefix(r.FileName(), ".") {
			t.Fatalf("file name %q of %q leaves its directory", r.FileName(), s)
		}
		for _, form := range []string{r.String(), r.Full(), r.FileName()} {
			if again, err := ParseReference(form); err != nil || again != r {
				t.Fatalf("%q prints as %q, which reads as %+v, %v", s, form, again, err)
			}
		}
	})
}

func TestPlatform(t *testing.T) {
	for in, want := range map[string]string{
		"amd64": "linux/amd64", "linux/arm64/v8": "linux/arm64", "x86_64": "linux/amd64", "arm": "linux/arm/v7",
		"linux/arm/v6": "linux/arm/v6", "aarch64": "linux/arm64", "windows/amd64": "windows/amd64", "host": Host().String(),
	} {
		p, err := ParsePlatform(in)
		if err != nil || p.String() != want {
			t.Errorf("ParsePlatform(%q) = %v, %v; want %s", in, p, err, want)
		}
	}
	for _, in := range []string{"linux/", "/amd64", "linux/a/b/c", "plan10/amd64/x"} {
		if p, err := ParsePlatform(in); err == nil {
			t.Errorf("ParsePlatform(%q) = %v, want an error", in, p)
		}
	}
}

func TestConfigRoundTrip(t *testing.T) {
	in := `{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Healthcheck":{"Test":["CMD","x"],"Interval":1000},"OnBuild":["RUN x"],"Shell":["/bin/bash","-c"]},"rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","empty_layer":true}]}`
	c, err := ParseConfig([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Clone().Encode()
	if err != nil || string(out) != in {
		t.Errorf("got  %s, %v\nwant %s", out, err, in)
	}
	if _, err := ParseConfig([]byte(`{"rootfs":{"diff_ids":["sha256:../../x"]}}`)); err == nil {
		t.Error("a path-shaped diff ID was accepted")
	}
}
