package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// keeper takes uploads and keeps what came before a connection broke, as
// the specification allows ("Pushing a blob in chunks", upload status).
type keeper struct {
	mu    sync.Mutex
	got   []byte
	cuts  []int // after how many bytes the next requests end
	calls []string
}

func (k *keeper) serve(w http.ResponseWriter, r *http.Request) bool {
	if !strings.Contains(r.URL.Path, "/blobs/") || r.Method == http.MethodHead || r.ContentLength > 0 && r.ContentLength < 10000 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, r.Method+" "+r.Header.Get("Content-Range"))
	w.Header().Set("Location", fmt.Sprintf("/v2/app/blobs/uploads/7?_state=%d", len(k.got)))
	switch r.Method {
	case http.MethodPost:
		k.got = nil
		w.WriteHeader(http.StatusAccepted)
	case http.MethodGet:
		w.Header().Set("Range", fmt.Sprintf("0-%d", len(k.got)-1))
		w.WriteHeader(http.StatusNoContent)
	default:
		in, cut := io.Reader(r.Body), len(k.cuts) > 0
		if cut {
			in, k.cuts = io.LimitReader(r.Body, int64(k.cuts[0])), k.cuts[1:]
		}
		b, _ := io.ReadAll(in)
		k.got = append(k.got, b...)
		switch {
		case cut:
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPatch:
			w.Header().Set("Location", fmt.Sprintf("/v2/app/blobs/uploads/7?_state=%d", len(k.got)))
			w.WriteHeader(http.StatusAccepted)
		case r.URL.Query().Get("digest") != digest.FromBytes(k.got).String():
			w.WriteHeader(http.StatusBadRequest)
		default:
			w.WriteHeader(http.StatusCreated)
		}
	}
	return true
}

// An upload in one request goes on where it broke off, several times.
func TestUploadGoesOn(t *testing.T) {
	s := serve(t)
	k := &keeper{cuts: []int{2 << 20, 3 << 20}}
	s.misbehave(k.serve)
	blob := random(8<<20, 5)
	img := pushable(t, blob)
	s.putBlob("app", img.Config)
	p := newProgress()
	done, err := quick(t, Options{Progress: p}).Push(t.Context(), parseRef(t, "%s/app:t", s.host()), img, PushOptions{})
	want := fmt.Sprintf("[POST  PUT  GET  PATCH %d-%d GET  PATCH %d-%d PUT ]", 2<<20, 8<<20-1, 5<<20, 8<<20-1)
	if err != nil || fmt.Sprint(k.calls) != want || !bytes.Equal(k.got, blob) {
		t.Errorf("%v, the registry saw %v, want %v", err, k.calls, want)
	}
	if d := img.Layers[0].Digest; done == nil || p.moved[d] != 8<<20 || p.ended[d] != nil {
		t.Errorf("progress: %d bytes, %v", p.moved[d], p.ended[d])
	}
}

// A registry that lost what it had got is sent everything again.
func TestUploadStartsAgain(t *testing.T) {
	s := serve(t)
	k := &keeper{cuts: []int{2 << 20}}
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/uploads/") {
			http.Error(w, `{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}`, http.StatusNotFound)
			return true
		}
		return k.serve(w, r)
	})
	blob := random(4<<20, 5)
	img := pushable(t, blob)
	s.putBlob("app", img.Config)
	_, err := quick(t, Options{}).Push(t.Context(), parseRef(t, "%s/app:t", s.host()), img, PushOptions{})
	if want := "[POST  PUT  POST  PUT ]"; err != nil || fmt.Sprint(k.calls) != want || !bytes.Equal(k.got, blob) {
		t.Errorf("%v, the registry saw %v, want %v", err, k.calls, want)
	}
}
