package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"virga/image"
)

// server is a registry on a loopback port with a chance to misbehave before
// each request.
type server struct {
	*httptest.Server
	t     *testing.T
	inner http.Handler // honest

	mu   sync.Mutex
	hook func(w http.ResponseWriter, r *http.Request) bool // true: answered
	log  []string

	refused logBuffer // what net/http says about connections it could not serve
}

// logBuffer is a bytes.Buffer for several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hook := s.hook
	s.log = append(s.log, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if hook == nil || !hook(w, r) {
		s.inner.ServeHTTP(w, r)
	}
}

// misbehave installs hook, nil for none, and forgets the requests so far.
func (s *server) misbehave(hook func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook, s.log = hook, nil
}

// count returns how many requests had the method and a path with part in it.
func (s *server) count(method, part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, l := range s.log {
		if m, path, _ := strings.Cut(l, " "); m == method && strings.Contains(path, part) {
			n++
		}
	}
	return n
}

func (s *server) host() string { return s.Listener.Addr().String() }

func newRegistry() http.Handler { return ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))) }

// serve starts a registry without TLS.
func serve(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, inner: newRegistry()}
	s.Server = httptest.NewServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s
}

// direct sends a request to the honest registry, past every hook.
func (s *server) direct(method, path string, body []byte, contentType string) {
	s.t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	rec := httptest.NewRecorder()
	s.inner.ServeHTTP(rec, req)
	if rec.Code/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
}

func (s *server) putBlob(repo string, b []byte) digest.Digest {
	s.t.Helper()
	d := digest.FromBytes(b)
	s.direct("POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), b, "application/octet-stream")
	return d
}

func (s *server) putManifest(repo, tag string, mt types.MediaType, doc any) Descriptor {
	s.t.Helper()
	b, ok := doc.([]byte)
	if !ok {
		b, _ = json.Marshal(doc)
	}
	d := digest.FromBytes(b)
	if tag == "" {
		tag = d.String()
	}
	s.direct("PUT", "/v2/"+repo+"/manifests/"+tag, b, string(mt))
	return Descriptor{Digest: d, Size: int64(len(b)), MediaType: string(mt)}
}

// random returns n bytes that compress as badly as a layer does.
func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

type jsonObject = map[string]any

func descJSON(d Descriptor) jsonObject {
	return jsonObject{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size}
}

// fakeImage is an image that a test builds by hand.
type fakeImage struct {
	desc   Descriptor
	config []byte
	layers [][]byte
	descs  []Descriptor
}

// putImage stores an OCI image of the given layers. platform may be empty.
func (s *server) putImage(repo, tag, platform string, layers ...[]byte) fakeImage {
	s.t.Helper()
	f := fakeImage{layers: layers}
	conf := image.Config{RootFS: image.RootFS{Type: "layers"}}
	if platform != "" {
		part := strings.Split(platform+"//", "/")
		conf.OS, conf.Architecture, conf.Variant = part[0], part[1], part[2]
	}
	var list []jsonObject
	for _, l := range layers {
		conf.RootFS.DiffIDs = append(conf.RootFS.DiffIDs, digest.FromBytes(l))
		d := Descriptor{Digest: s.putBlob(repo, l), Size: int64(len(l)), MediaType: string(types.OCILayer)}
		f.descs = append(f.descs, d)
		list = append(list, descJSON(d))
	}
	var err error
	if f.config, err = conf.Encode(); err != nil {
		s.t.Fatal(err)
	}
	c := Descriptor{Digest: s.putBlob(repo, f.config), Size: int64(len(f.config)), MediaType: string(types.OCIConfigJSON)}
	f.desc = s.putManifest(repo, tag, types.OCIManifestSchema1, jsonObject{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "config": descJSON(c), "layers": list,
	})
	return f
}

// quick is a client that does not wait long for anything.
func quick(t *testing.T, opts Options) *Client {
	t.Helper()
	opts.Timeouts = Timeouts{Connect: 2 * time.Second, Header: 2 * time.Second, Stall: time.Second}
	if opts.Retry == (Retry{}) {
		opts.Retry = Retry{Attempts: 4, Initial: time.Millisecond, Max: 1500 * time.Millisecond}
	}
	if testing.Verbose() && opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// debugLog writes everything to w.
func debugLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func parseRef(t *testing.T, format string, a ...any) image.Reference {
	t.Helper()
	r, err := image.ParseReference(fmt.Sprintf(format, a...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func amd64() Want { return Want{Platform: image.Platform{OS: "linux", Arch: "amd64"}} }
