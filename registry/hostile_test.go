package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// endless sends bytes until the client goes away.
func endless(w http.ResponseWriter, r *http.Request) {
	junk := []byte(strings.Repeat("x", 64<<10))
	for r.Context().Err() == nil {
		if _, err := w.Write(junk); err != nil {
			return
		}
	}
}

// drip sends a byte now and then, never long enough apart to be a stall.
func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, " ")
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

// Whatever a registry answers, there is one error of one line, in bounded
// time and memory.
func TestHostileRegistry(t *testing.T) {
	is := func(part string) func(*http.Request) bool {
		return func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) }
	}
	html := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "<html>"+strings.Repeat("<p>no</p>\n", 1000))
		}
	}
	tests := []struct {
		name   string
		at     func(*http.Request) bool
		answer http.HandlerFunc
		kind   error
		says   string
	}{
		{"an endless manifest", is("/manifests/"), endless, ErrProtocol, "larger than 4 MiB"},
		{"a dripping manifest", is("/manifests/"), drip, ErrUnreachable, "no progress worth the name"},
		{"an endless configuration", is("/blobs/"), endless, ErrProtocol, "larger than 8 MiB"},
		{"an endless refusal", is("/manifests/"), func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			endless(w, r)
		}, ErrUnauthorized, "status 403"},
		{"a dripping refusal", is("/manifests/"), func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusConflict)
			drip(w, r)
		}, ErrProtocol, "status 409"},
		{"a page instead of a manifest", is("/manifests/"), html(200), ErrProtocol, "web page"},
		{"a page instead of an error", is("/manifests/"), html(404), ErrNotFound, "not found"},
		{"a page instead of a registry", is("/v2/"), html(200), ErrProtocol, "does not answer as a registry does"},
		{"redirects in a circle", is("/manifests/"), func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		}, ErrProtocol, "more than 10"},
		{"a redirect to a file", is("/manifests/"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, ErrProtocol, "redirect"},
		{"a token that never opens", is("/v2/"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",scope="repository:app:%d"`, r.Host, time.Now().UnixNano()))
			w.WriteHeader(http.StatusUnauthorized)
		}, ErrUnauthorized, "strangers"},
		{"an endless token", is("/v2/"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/endless"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
		}, ErrProtocol, "get token"},
		{"a realm elsewhere in the house", is("/v2/"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Www-Authenticate", `Bearer realm="http://169.254.169.254/latest/meta-data"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, ErrProtocol, "private or link-local"},
		{"terminal control in an error", is("/manifests/"), func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"errors":[{"code":"X","message":"a\u001b[2Jb\nc"}]}`)
		}, ErrProtocol, "a [2Jb c"},
		{"a digest like a path", is("/manifests/"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = io.WriteString(w, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:../../../../../../etc/passwd","size":2},"layers":[]}`)
		}, ErrProtocol, "read manifest"},
		{"a size below nothing", is("/manifests/"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%064d","size":-5},"layers":[]}`, 1)
		}, ErrProtocol, "size -5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			s.putImage("app", "t", "linux/amd64", random(1000, 1))
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/token":
					_, _ = io.WriteString(w, `{"token":"t"}`)
				case r.URL.Path == "/endless":
					endless(w, r)
				case tt.at(r):
					tt.answer(w, r)
				default:
					return false
				}
				return true
			})
			c := quick(t, Options{Retry: Retry{Attempts: 2, Initial: time.Millisecond, Max: time.Second}})
			start := time.Now()
			_, err := c.Resolve(t.Context(), parseRef(t, "%s/app:t", s.host()), amd64())
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got %v; want %v with %q", err, tt.kind, tt.says)
			}
			if d := time.Since(start); d > 30*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// A blob is never in memory as a whole, however large it is said to be.
func TestBlobMemory(t *testing.T) {
	const size = 256 << 20
	s := serve(t)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		endless(w, r)
		return true
	})
	d := Descriptor{Digest: "sha256:" + "0000000000000000000000000000000000000000000000000000000000000000", Size: size}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	err := quick(t, Options{}).Fetch(t.Context(), parseRef(t, "%s/a:x", s.host()), []Descriptor{d}, func(_ context.Context, _ Descriptor, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("%d MiB were allocated for a blob of %d", n>>20, size>>20)
	}
}
