package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// cut sends b as a whole answer of which only the first n bytes arrive.
func cut(w http.ResponseWriter, b []byte, n int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestBlobFaults(t *testing.T) {
	blob := random(3<<20, 7)
	isBlob := func(r *http.Request) bool {
		return r.Method == "GET" && strings.Contains(r.URL.Path, "/blobs/sha256")
	}
	tests := []struct {
		name string
		hook func(n int, w http.ResponseWriter, r *http.Request) bool // n counts blob requests from 1
		want error                                                    // kind, nil for success
		says string
		most int // requests
	}{
		{name: "honest", most: 1},
		{name: "cut once, resumed by range", most: 2, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				cut(w, blob, 1<<20)
			}
			if r.Header.Get("Range") != fmt.Sprintf("bytes=%d-%d", 1<<20, len(blob)-1) {
				t.Errorf("range %q", r.Header.Get("Range"))
			}
			return false
		}},
		{name: "range ignored", most: 2, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				cut(w, blob, 12345)
			}
			_, _ = w.Write(blob)
			return true
		}},
		{name: "another range than asked", want: ErrProtocol, says: "asked for bytes from 12345", most: 2, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				cut(w, blob, 12345)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(blob)-1, len(blob)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(blob)
			return true
		}},
		{name: "always cut at the same place", want: ErrUnreachable, says: "broke the connection off", most: 6, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", len(blob)-1, len(blob)))
				w.Header().Set("Content-Length", strconv.Itoa(len(blob)-1000))
				w.WriteHeader(http.StatusPartialContent)
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			cut(w, blob, 1000)
			return true
		}},
		{name: "a byte at a time", want: ErrUnreachable, says: "broke the connection off", most: 4, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 1 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", n-1, len(blob)-1, len(blob)))
				w.Header().Set("Content-Length", strconv.Itoa(len(blob)-n+1))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(blob[n-1 : n])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			cut(w, blob, 1)
			return true
		}},
		{name: "stall, then resumed", most: 2, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 1 {
				return false
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
			_, _ = w.Write(blob[:500])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}},
		{name: "no head of the answer", want: ErrUnreachable, says: "no progress for 2s", most: 1, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}},
		{name: "503 twice", most: 3, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 2 {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}},
		{name: "503 for ever", want: ErrUnreachable, says: "status 503", most: 4, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}},
		{name: "429 with Retry-After", most: 2, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 1 {
				return false
			}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}},
		{name: "429 for an hour", want: ErrRateLimited, says: "enough (retry after 3600)", most: 1, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"enough"}]}`)
			return true
		}},
		{name: "reset before any answer", most: 2, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		{name: "too long", want: ErrCorrupt, says: "sends 3145729 bytes, the manifest says 3145728", most: 1, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob)+1))
			_, _ = w.Write(append(bytes.Clone(blob), 'x'))
			return true
		}},
		{name: "too short", want: ErrCorrupt, says: "sends 3145727 bytes", most: 1, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob)-1))
			_, _ = w.Write(blob[1:])
			return true
		}},
		{name: "one bit flipped", want: ErrCorrupt, says: "what was received has digest sha256:", most: 1, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			bad := bytes.Clone(blob)
			bad[1<<20] ^= 1
			_, _ = w.Write(bad)
			return true
		}},
		{name: "a web page", want: ErrProtocol, says: "web page", most: 1, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>please log in</html>")
			return true
		}},
		{name: "gone", want: ErrNotFound, says: "not found", most: 1, hook: func(n int, w http.ResponseWriter, r *http.Request) bool {
			http.NotFound(w, r)
			return true
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			d := Descriptor{Digest: s.putBlob("a", blob), Size: int64(len(blob))}
			var n atomic.Int32
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				return isBlob(r) && tt.hook != nil && tt.hook(int(n.Add(1)), w, r)
			})
			opts := Options{}
			if tt.name == "no head of the answer" {
				opts.Retry.Attempts = 1
			}
			got, err := readBlob(t, quick(t, opts), s, d)
			if tt.want == nil {
				if err != nil || !bytes.Equal(got, blob) {
					t.Errorf("%d bytes, %v; want the blob", len(got), err)
				}
			} else if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v; want %v with %q", err, tt.want, tt.says)
			}
			if c := s.count("GET", "/blobs/"); c > tt.most {
				t.Errorf("%d requests, want at most %d", c, tt.most)
			}
		})
	}
}

func readBlob(t *testing.T, c *Client, s *server, d Descriptor) ([]byte, error) {
	t.Helper()
	r, err := c.Blob(t.Context(), parseRef(t, "%s/a:x", s.host()), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Digests from manifests become parts of URLs and of file names elsewhere.
func TestBlobRefusesPathShapedDigest(t *testing.T) {
	s := serve(t)
	for _, d := range []string{"sha256:../../../etc/passwd", "", "sha256", "sha256:", "md5:00", "sha256:" + strings.Repeat("A", 64)} {
		if _, err := readBlob(t, quick(t, Options{}), s, Descriptor{Digest: digest.Digest(d), Size: 1}); !errors.Is(err, ErrProtocol) {
			t.Errorf("digest %q: %v, want ErrProtocol", d, err)
		}
	}
	if len(s.log) != 0 {
		t.Errorf("the registry was asked: %v", s.log)
	}
}

func TestBlobEndsWithItsContext(t *testing.T) {
	s := serve(t)
	d := Descriptor{Digest: s.putBlob("a", random(1000, 1)), Size: 1000}
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-r.Context().Done()
			return true
		}
		return false
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err := quick(t, Options{}).Blob(ctx, parseRef(t, "%s/a:x", s.host()), d)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) || time.Since(start) > time.Second {
		t.Errorf("%v after %v, want only context.Canceled, at once", err, time.Since(start))
	}
}

type countingProgress struct {
	mu      sync.Mutex
	started map[digest.Digest]int64
	moved   map[digest.Digest]int64
	ended   map[digest.Digest]error
}

func newProgress() *countingProgress {
	return &countingProgress{started: map[digest.Digest]int64{}, moved: map[digest.Digest]int64{}, ended: map[digest.Digest]error{}}
}

func (p *countingProgress) Start(d digest.Digest, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started[d] = size
}

func (p *countingProgress) Advance(d digest.Digest, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved[d] += n
}

func (p *countingProgress) Finish(d digest.Digest, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended[d] = err
}

func TestFetch(t *testing.T) {
	s := serve(t)
	var descs []Descriptor
	want := map[digest.Digest][]byte{}
	for i := range 9 {
		b := random(200<<10, uint64(i))
		d := Descriptor{Digest: s.putBlob("a", b), Size: int64(len(b))}
		descs, want[d.Digest] = append(descs, d), b
	}
	descs = append(descs, descs[3])
	var running, most, calls atomic.Int32
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(20 * time.Millisecond)
		s.inner.ServeHTTP(w, r)
		return true
	})
	p := newProgress()
	c := quick(t, Options{MaxParallel: 3, Progress: p})
	ref := parseRef(t, "%s/a:x", s.host())
	err := c.Fetch(t.Context(), ref, descs, func(_ context.Context, d Descriptor, r io.Reader) error {
		calls.Add(1)
		got, err := io.ReadAll(r)
		if !bytes.Equal(got, want[d.Digest]) {
			t.Errorf("%s differs", d.Digest)
		}
		return err
	})
	if err != nil || calls.Load() != 9 {
		t.Fatalf("%d blobs, %v", calls.Load(), err)
	}
	if m := most.Load(); m < 2 || m > 3 {
		t.Errorf("%d transfers at once, want 2 or 3", m)
	}
	for d, b := range want {
		if n := int64(len(b)); p.started[d] != n || p.moved[d] != n || p.ended[d] != nil {
			t.Errorf("progress of %s: %d announced, %d moved, %v", d, p.started[d], p.moved[d], p.ended[d])
		}
	}
}

// A sink that stops early must not make a blob look verified.
func TestFetchVerifiesWhatSinkLeaves(t *testing.T) {
	s := serve(t)
	b := random(100<<10, 1)
	d := Descriptor{Digest: s.putBlob("a", b), Size: int64(len(b))}
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		bad := bytes.Clone(b)
		bad[len(bad)-1] ^= 1
		_, _ = w.Write(bad)
		return true
	})
	ref := parseRef(t, "%s/a:x", s.host())
	err := quick(t, Options{}).Fetch(t.Context(), ref, []Descriptor{d}, func(_ context.Context, _ Descriptor, r io.Reader) error {
		_, err := r.Read(make([]byte, 10))
		return err
	})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	mine := errors.New("disk full")
	err = quick(t, Options{}).Fetch(t.Context(), ref, []Descriptor{d}, func(context.Context, Descriptor, io.Reader) error { return mine })
	if !errors.Is(err, mine) {
		t.Errorf("got %v, want the sink's error", err)
	}
}
