package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Blobs usually come from another host, by redirect. Neither a token nor a
// password may go there, not even when only the port differs.
func TestRedirectLeaksNothing(t *testing.T) {
	blob := random(1000, 1)
	var leaked http.Header
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked = r.Header.Clone()
		_, _ = w.Write(blob)
	}))
	defer store.Close()
	for _, scheme := range []string{"bearer", "basic"} {
		s := serve(t)
		d := Descriptor{Digest: s.putBlob("site/app", blob), Size: int64(len(blob))}
		ts := requireToken(t, s)
		s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
			if scheme == "bearer" && !ts.admit(w, r) || scheme == "basic" && !admitBasic(w, r) {
				return true
			}
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, store.URL+"/signed?X-Signature=hush", http.StatusTemporaryRedirect)
				return true
			}
			return false
		})
		leaked = nil
		if _, err := readAll(t, quick(t, Options{Credentials: Static(jane)}), s, "site/app", d); err != nil {
			t.Fatal(err)
		}
		if leaked == nil || leaked.Get("Authorization") != "" || leaked.Get("Referer") != "" || leaked.Get("Cookie") != "" {
			t.Errorf("%s: the blob store got %v", scheme, leaked)
		}
	}
}

// The signature in the URL of a blob store is a secret as well.
func TestErrorsTellNoURL(t *testing.T) {
	s := serve(t)
	d := Descriptor{Digest: digest.FromString("x"), Size: 1}
	for name, hook := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"broken":  func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	} {
		store := httptest.NewServer(hook)
		s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, store.URL+"/signed?X-Signature=hush", http.StatusTemporaryRedirect)
				return true
			}
			return false
		})
		_, err := readBlob(t, quick(t, Options{}), s, d)
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
		store.Close()
	}
}

// An upload that goes on at another host goes there without our token.
func TestUploadElsewhereLeaksNothing(t *testing.T) {
	var got []string
	var mu sync.Mutex
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		got = append(got, r.Method+" "+r.Header.Get("Authorization"))
		mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	}))
	defer store.Close()
	s := serve(t)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case !admitBasic(w, r):
			return true
		case r.Method == "POST":
			w.Header().Set("Location", store.URL+"/upload?sig=1")
			w.WriteHeader(http.StatusAccepted)
			return true
		case r.Method == "PUT":
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	})
	_, err := quick(t, Options{Credentials: Static(jane)}).Push(t.Context(), parseRef(t, "%s/app:t", s.host()), pushable(t, []byte("x")), PushOptions{})
	if err != nil || len(got) != 2 || got[0] != "PUT " || got[1] != "PUT " {
		t.Errorf("the other host got %q, %v", got, err)
	}
}

func TestCredentialNeverPrints(t *testing.T) {
	c := Credential{Username: "jane", Password: "hush", IdentityToken: "hush", RegistryToken: "hush"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, v := range []any{c, &c, []Credential{c}, struct{ C Credential }{c}} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "hush") || strings.Contains(s, fmt.Sprintf("%x", "hush")) {
				t.Errorf("%s prints %s", verb, s)
			}
		}
	}
	if b, err := json.Marshal(c); err == nil && strings.Contains(string(b), "hush") {
		t.Errorf("JSON prints %s", b)
	}
}
