package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"virga/image"
)

// pushable is an image that is nowhere yet.
func pushable(t *testing.T, layers ...[]byte) Image {
	t.Helper()
	conf := image.Config{OS: "linux", Architecture: "amd64"}
	img := Image{MediaType: string(types.OCIManifestSchema1)}
	list := []jsonObject{}
	for _, l := range layers {
		d := Descriptor{Digest: digest.FromBytes(l), Size: int64(len(l)), MediaType: string(types.OCILayer)}
		conf.RootFS.DiffIDs = append(conf.RootFS.DiffIDs, d.Digest)
		list = append(list, descJSON(d))
		img.Layers = append(img.Layers, Upload{Descriptor: d, Open: opener(l)})
	}
	var err error
	if img.Config, err = conf.Encode(); err != nil {
		t.Fatal(err)
	}
	c := Descriptor{Digest: digest.FromBytes(img.Config), Size: int64(len(img.Config)), MediaType: string(types.OCIConfigJSON)}
	img.Manifest, err = json.Marshal(jsonObject{"schemaVersion": 2, "mediaType": img.MediaType, "config": descJSON(c), "layers": list})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func opener(b []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func TestPushFaults(t *testing.T) {
	isUpload := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/blobs/uploads/") && (r.Method == "PUT" || r.Method == "PATCH")
	}
	tests := []struct {
		name  string
		opts  PushOptions
		hook  func(n int, w http.ResponseWriter, r *http.Request) bool // n counts PUT and PATCH of blobs
		every func(w http.ResponseWriter, r *http.Request) bool
		kind  error
		says  string
		patch bool // pieces are to be seen
	}{
		{name: "honest"},
		{name: "in pieces", opts: PushOptions{ChunkSize: 1 << 20}, patch: true},
		{name: "pieces as large as the blob", opts: PushOptions{ChunkSize: 8 << 20}, patch: true},
		{name: "503 once", hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n == 1
		}},
		{name: "reset in the middle", hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				_, _ = io.CopyN(io.Discard, r.Body, 100)
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		{name: "reset in a piece", patch: true, opts: PushOptions{ChunkSize: 1 << 20}, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 2 {
				_, _ = io.CopyN(io.Discard, r.Body, 100)
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		{name: "too large for one request", patch: true, every: func(w http.ResponseWriter, r *http.Request) bool {
			if isUpload(r) && r.ContentLength > 1<<20 {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			return false
		}},
		{name: "too large at any size", kind: ErrProtocol, says: "413", every: func(w http.ResponseWriter, r *http.Request) bool {
			if isUpload(r) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
			return isUpload(r)
		}},
		{name: "Expect not understood", every: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Expect") != "" {
				w.WriteHeader(http.StatusExpectationFailed)
				return true
			}
			return false
		}},
		{name: "absolute Location with a query", every: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" {
				w.Header().Set("Location", "http://"+r.Host+"/v2/app/blobs/uploads/77?_state=abc%3D")
				w.WriteHeader(http.StatusAccepted)
				return true
			}
			if isUpload(r) && r.URL.Query().Get("_state") != "abc=" {
				w.WriteHeader(http.StatusBadRequest)
				return true
			}
			return false
		}},
		{name: "no Location", kind: ErrProtocol, says: "where to upload", every: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" {
				w.WriteHeader(http.StatusAccepted)
			}
			return r.Method == "POST"
		}},
		{name: "stored as something else", kind: ErrCorrupt, says: "the registry stored sha256:x", hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Docker-Content-Digest", "sha256:x")
			w.WriteHeader(http.StatusCreated)
			return true
		}},
		{name: "manifest stored as something else", kind: ErrCorrupt, says: "instead of", every: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Docker-Content-Digest", "sha256:x")
				w.WriteHeader(http.StatusCreated)
				return true
			}
			return false
		}},
		{name: "read-only", kind: ErrProtocol, says: "status 405", every: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == "POST"
		}},
		{name: "stalls for ever", kind: ErrUnreachable, says: "no progress", hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			time.Sleep(3 * time.Second) // longer than Timeouts.Stall; the unread body hides that the client has gone
			panic(http.ErrAbortHandler)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			big := random(8<<20, 3)
			img := pushable(t, big, []byte("small"), big)
			var n atomic.Int32
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				if tt.every != nil && tt.every(w, r) {
					return true
				}
				return tt.hook != nil && isUpload(r) && r.ContentLength > 1000 && tt.hook(int(n.Add(1)), w, r)
			})
			p := newProgress()
			opts := Options{Progress: p}
			if tt.name == "stalls for ever" {
				opts.Retry.Attempts = 1
			}
			c := quick(t, opts)
			ref := parseRef(t, "%s/app:t", s.host())
			done, err := c.Push(t.Context(), ref, img, tt.opts)
			if patched := s.count("PATCH", "") > 0; patched != tt.patch && tt.kind == nil {
				t.Errorf("pieces %v, want %v", patched, tt.patch)
			}
			if tt.kind != nil {
				if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v; want %v with %q", err, tt.kind, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if done.Digest != digest.FromBytes(img.Manifest) || done.Uploaded != 3 {
				t.Errorf("got %+v", done)
			}
			for d, size := range p.started {
				if p.moved[d] != size || p.ended[d] != nil {
					t.Errorf("progress of %s: %d of %d, %v", d, p.moved[d], size, p.ended[d])
				}
			}
			s.misbehave(nil)
			got, err := c.Resolve(t.Context(), ref, amd64())
			if err != nil || !bytes.Equal(got.Manifest, img.Manifest) {
				t.Fatalf("pulled back: %v", err)
			}
			if b, err := readAll(t, c, s, "app", got.Layers[0]); err != nil || !bytes.Equal(b, big) {
				t.Errorf("layer pulled back: %v", err)
			}
		})
	}
}

func TestPushSkipsAndMounts(t *testing.T) {
	s := serve(t)
	a, b := random(5000, 1), random(5000, 2)
	s.putBlob("app", a)
	s.putBlob("base", b)
	img := pushable(t, a, b)
	for i := range img.Layers {
		img.Layers[i].From = []string{"nothing", "base"}
		img.Layers[i].Open = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("opened") }
	}
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool { // the fake registry has one store for all
		if from := r.URL.Query().Get("from"); from == "base" {
			w.Header().Set("Location", "/v2/app/blobs/"+r.URL.Query().Get("mount"))
			w.WriteHeader(http.StatusCreated)
			return true
		} else if from != "" {
			w.Header().Set("Location", "/v2/app/blobs/uploads/5")
			w.WriteHeader(http.StatusAccepted)
			return true
		}
		if r.Method == "HEAD" && strings.HasSuffix(r.URL.Path, digest.FromBytes(b).String()) {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	done, err := quick(t, Options{}).Push(t.Context(), parseRef(t, "%s/app:t", s.host()), img, PushOptions{})
	if err != nil || done.Existing != 1 || done.Mounted != 1 || done.Uploaded != 1 {
		t.Errorf("got %+v, %v; want one of each", done, err)
	}
}

func TestPushRefuses(t *testing.T) {
	layer := random(2<<20, 1)
	flipped := bytes.Clone(layer)
	flipped[0] ^= 1
	tests := []struct {
		name   string
		change func(*Image)
		ref    string
		says   string
	}{
		{"flipped bit", func(i *Image) { i.Layers[0].Open = opener(flipped) }, "app:t", "what is stored has digest"},
		{"too short", func(i *Image) { i.Layers[0].Open = opener(layer[1:]) }, "app:t", "only 2097151 of 2097152 bytes"},
		{"too long", func(i *Image) { i.Layers[0].Open = opener(append(bytes.Clone(layer), 1)) }, "app:t", "more than 2097152 bytes"},
		{"unreadable", func(i *Image) {
			i.Layers[0].Open = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("no such blob") }
		}, "app:t", "no such blob"},
		{"missing layer", func(i *Image) { i.Layers = nil }, "app:t", "not among the layers"},
		{"other configuration", func(i *Image) { i.Config = []byte("{}") }, "app:t", "the manifest says"},
		{"no manifest", func(i *Image) { i.Manifest = []byte("x") }, "app:t", "no JSON"},
		{"wrong type", func(i *Image) { i.MediaType = string(types.DockerManifestSchema2) }, "app:t", "it says to be"},
		{"other digest", func(*Image) {}, "app@" + digest.FromString("x").String(), "the manifest's digest is"},
	}
	for _, chunk := range []int64{0, 1 << 20} {
		s := serve(t)
		for _, tt := range tests {
			img := pushable(t, layer)
			tt.change(&img)
			s.misbehave(nil)
			_, err := quick(t, Options{}).Push(t.Context(), parseRef(t, "%s/%s", s.host(), tt.ref), img, PushOptions{ChunkSize: chunk})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.says)
			}
			if n := s.count("PUT", "/manifests/"); n != 0 {
				t.Errorf("%s: the manifest was pushed", tt.name)
			}
			if n := s.count("POST", ""); n > 2 {
				t.Errorf("%s: tried %d times", tt.name, n)
			}
		}
		// The registry must have got no blob under a digest that is not its own.
		for _, b := range [][]byte{flipped, layer[1:]} {
			if _, err := readAll(t, quick(t, Options{}), s, "app", Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}); !errors.Is(err, ErrNotFound) {
				t.Errorf("a false blob was stored: %v", err)
			}
		}
	}
}

// Pushing needs a wider token than pulling, for this repository and, to
// mount, for another.
func TestPushScopes(t *testing.T) {
	s := serve(t)
	s.putImage("site/app", "old", "linux/amd64", []byte("x"))
	ts := requireToken(t, s)
	img := pushable(t, random(1000, 1))
	img.Layers[0].From = []string{"site/base"}
	c := quick(t, Options{Credentials: Static(jane)})
	ref := parseRef(t, "%s/site/app:t", s.host())
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		r2 := r.Clone(r.Context())
		r2.Method = map[bool]string{true: "GET", false: "PUT"}[r.Method == "GET" || r.Method == "HEAD"]
		r2.URL.Path = strings.Replace(r.URL.Path, "/blobs/uploads/", "/blobs/", 1)
		return hook(w, r2)
	})
	if _, err := c.Resolve(t.Context(), parseRef(t, "%s/site/app:old", s.host()), amd64()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(t.Context(), ref, img, PushOptions{}); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(ts.asked(), "\n")
	for _, want := range []string{"GET repository:site/app:pull\n", "GET repository:site/app:pull,push", "GET repository:site/app:pull,push repository:site/base:pull"} {
		if !strings.Contains(all+"\n", want) {
			t.Errorf("no request %q in\n%s", want, all)
		}
	}
	_, err := quick(t, Options{}).Push(t.Context(), ref, img, PushOptions{})
	if !errors.Is(err, ErrUnauthorized) || !strings.Contains(fmt.Sprint(err), "strangers") {
		t.Errorf("as nobody: %v", err)
	}
}

// An absolute Location with http, as registries behind a TLS proxy give it,
// does not lead down from HTTPS.
func TestLocationStaysHTTPS(t *testing.T) {
	u := &upload{pusher: &pusher{repo: &repository{s: &session{base: "https://r.example.org"}}}}
	for in, want := range map[string]string{
		"http://r.example.org/v2/x":       "https://r.example.org/v2/x",
		"https://r.example.org/v2/x?a=b":  "https://r.example.org/v2/x?a=b",
		"http://other.example.org/v2/x":   "http://other.example.org/v2/x",
		"/v2/x":                           "https://r.example.org/v2/x",
		"https://s3.example.org/up?sig=1": "https://s3.example.org/up?sig=1",
	} {
		req, _ := http.NewRequest("POST", "https://r.example.org/v2/app/blobs/uploads/", nil)
		got, err := u.location(&http.Response{Header: http.Header{"Location": {in}}, Request: req})
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
}
