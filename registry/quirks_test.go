package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorded is a registry that speaks as a well-known one does, as far as its
// documentation and bug reports say.
type recorded struct {
	name string
	repo string
	user string
	// The challenges at /v2/ and for a repository. {realm}, {repo} and {actions}
	// are filled in.
	door, refusal []string
	realm         string                    // path of the token endpoint
	answer        func(token string) any    // what the token endpoint says
	stranger      int                       // its status for strangers; 0: a token that opens nothing
	post          bool                      // it takes refresh tokens, by POST
	basic         bool                      // a name and password open everything too
	manifests     string                    // Content-Type of manifests; "": the right one
	head          func(path string) int     // a status for HEAD, 0: the honest one
	cdn           bool                      // blobs are on another host, by redirect
	location      func(given string) string // where uploads go on
	noDigest      bool                      // no Docker-Content-Digest
	mountNot      bool                      // no token for two repositories

	mu     sync.Mutex
	tokens map[string][]string // token -> scopes
	store  *httptest.Server
	self   *server
}

const longPassword = "{\n \"private_key\": \"a:b%2B+c\"\n}" // of Google's _json_key

func plainToken(t string) any { return map[string]any{"token": t} }

var recordings = []*recorded{
	{
		name: "NGC", repo: "nvidia/cuda", user: "$oauthtoken", realm: "/proxy_auth",
		door:    []string{`Bearer realm="{realm}",scope=""`},
		refusal: []string{`Bearer realm="{realm}",scope="repository:{repo}:{actions}"`}, // no service
		answer:  func(t string) any { return map[string]any{"token": t, "expires_in": 600} },
		// The catalogue's proxy has served manifests as text.
		manifests: "text/plain; charset=utf-8", cdn: true, stranger: http.StatusUnauthorized,
	},
	{
		name: "Harbor", repo: "project/team/app", user: "robot$project+ci", realm: "/service/token", basic: true,
		door:    []string{`Bearer realm="{realm}",service="harbor-registry"`},
		refusal: []string{`Basic realm="harbor"`}, // to a token that is too narrow (its issue 18856)
		answer: func(t string) any {
			return map[string]any{"token": t, "access_token": t, "expires_in": 1800, "issued_at": "2026-01-01T00:00:00Z"}
		},
		location: func(given string) string { return "http://{host}" + given + "?_state=x%2Fy%3D%3D" },
	},
	{
		name: "GitLab", repo: "group/sub/project/image", user: "gitlab-ci-token", realm: "/jwt/auth",
		door:    []string{`Bearer realm="{realm}",service="container_registry"`},
		refusal: []string{`Bearer realm="{realm}",service="container_registry",scope="repository:{repo}:{actions}",error="insufficient_scope"`},
		answer:  plainToken, stranger: http.StatusForbidden, mountNot: true,
	},
	{
		name: "Quay", repo: "org/app", user: "org+robot", realm: "/v2/auth",
		door:    []string{`Bearer realm="{realm}",service="quay.io"`},
		refusal: []string{`Bearer realm="{realm}",service="quay.io",scope="repository:{repo}:{actions}"`},
		answer:  plainToken, cdn: true,
		head: func(path string) int { // of the store behind the redirect
			if strings.Contains(path, "/blobs/") {
				return http.StatusForbidden
			}
			return 0
		},
	},
	{
		name: "GCR", repo: "project/app", user: "_json_key", realm: "/v2/token",
		door:    []string{`Bearer realm="{realm}",service=127.0.0.1`}, // once without quotes
		refusal: []string{`Bearer realm="{realm}",service=127.0.0.1,scope="repository:{repo}:{actions}"`},
		answer:  func(t string) any { return map[string]any{"token": t, "expires_in": 43200, "issued_at": "x"} },
		location: func(given string) string {
			return strings.Replace(given, "/v2/", "/artifacts-uploads/v2/", 1)
		},
		noDigest: true,
	},
	{
		name: "Docker Hub", repo: "library/app", user: "me", realm: "/token",
		door:    []string{`Bearer realm="{realm}",service="registry.docker.io"`},
		refusal: []string{`Bearer realm="{realm}",service="registry.docker.io",scope="repository:{repo}:{actions}"`},
		answer: func(t string) any {
			return map[string]any{"token": t, "access_token": t, "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z"}
		},
		cdn: true,
	},
	{
		name: "ACR", repo: "app", user: "", realm: "/oauth2/token", post: true,
		door:    []string{`Bearer realm="{realm}",service="127.0.0.1"`},
		refusal: []string{`Bearer realm="{realm}",service="127.0.0.1",scope="repository:{repo}:{actions}",error="invalid_token"`},
		answer:  func(t string) any { return map[string]any{"access_token": t, "refresh_token": "refresh-2"} },
	},
	{
		name: "Nexus", repo: "app", user: "me", basic: true, realm: "/none",
		door:    []string{`BASIC realm="Sonatype Nexus Repository Manager"`},
		refusal: []string{`BASIC realm="Sonatype Nexus Repository Manager"`},
		head: func(path string) int { // what came before a HEAD of manifests
			if strings.Contains(path, "/manifests/") {
				return http.StatusMethodNotAllowed
			}
			return http.StatusNotFound
		},
	},
	{
		name: "several challenges", repo: "app", user: "me", realm: "/token", basic: true,
		door: []string{`Negotiate`, `Basic realm="a, \"b\"", charset="UTF-8"`, `bearer Realm="{realm}", Service="x"`},
		refusal: []string{`Basic realm="x"`,
			`Bearer realm="{realm}",service="x",scope="repository:{repo}:pull repository:{repo}:push,pull"`},
		answer: func(t string) any { return map[string]any{"token": "", "access_token": t} },
	},
}

// serve starts the registry, with one image in it.
func (q *recorded) serve(t *testing.T) (*server, fakeImage) {
	s := serve(t)
	f := s.putImage(q.repo, "t", "linux/amd64", random(1000, 1), random(1000, 2))
	q.tokens, q.self = map[string][]string{}, s
	q.store = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch { // as S3 and its like
		case r.Header.Get("Authorization") != "":
			http.Error(w, "<Error>Only one auth mechanism allowed</Error>", http.StatusBadRequest)
		case r.URL.Query().Get("sig") != "ok":
			w.WriteHeader(http.StatusForbidden)
		default:
			r.URL.RawQuery = ""
			s.inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(q.store.Close)
	s.misbehave(q.hook)
	return s, f
}

func (q *recorded) password() string {
	switch {
	case q.post:
		return "refresh-1"
	case q.user == "_json_key":
		return longPassword
	}
	return "hush"
}

func (q *recorded) cred() Credential {
	if q.post {
		return Credential{IdentityToken: q.password()}
	}
	return Credential{Username: q.user, Password: q.password()}
}

// hook answers instead of the honest registry, or not.
func (q *recorded) hook(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == q.realm {
		q.token(w, r)
		return true
	}
	repo, action := q.repo, "pull"
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		action = "push"
	}
	if r.URL.Path == "/v2/" {
		repo = ""
	}
	if !q.allows(r, repo, action) {
		list := q.refusal
		if repo == "" || r.Header.Get("Authorization") == "" && !q.basic {
			list = q.door
		}
		actions := map[string]string{"pull": "pull", "push": "pull,push"}[action]
		for _, c := range list {
			w.Header().Add("Www-Authenticate", strings.NewReplacer("{realm}", q.self.URL+q.realm, "{repo}", repo, "{actions}", actions).Replace(c))
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	return repo != "" && q.serveAs(w, r)
}

// allows reports whether a request carries what opens the repository.
func (q *recorded) allows(r *http.Request, repo, action string) bool {
	if u, p, ok := r.BasicAuth(); ok {
		return q.basic && u == q.user && p == q.password()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	tok, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	scopes, ok := q.tokens[tok]
	return ok && (repo == "" || slices.ContainsFunc(scopes, func(s string) bool {
		at := strings.LastIndexByte(s, ':')
		return at > 0 && s[:at] == "repository:"+repo && strings.Contains(s[at:], action)
	}))
}

func (q *recorded) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	u, p, basic := r.BasicAuth()
	known := basic && u == q.user && p == q.password()
	if q.post {
		known = r.Method == http.MethodPost && r.Form.Get("grant_type") == "refresh_token" && strings.HasPrefix(r.Form.Get("refresh_token"), "refresh-")
	}
	scopes := strings.Fields(strings.Join(r.Form["scope"], " "))
	foreign := slices.ContainsFunc(scopes, func(s string) bool { return !strings.HasPrefix(s, "repository:"+q.repo+":") })
	switch {
	case basic && !known, q.post && !known, q.mountNot && foreign:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"HTTP Basic: Access denied"}]}`)
		return
	case !known && q.stranger != 0:
		w.WriteHeader(q.stranger)
		return
	case !known:
		scopes = nil
	}
	q.mu.Lock()
	tok := fmt.Sprintf("t%d", len(q.tokens))
	q.tokens[tok] = scopes
	q.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(q.answer(tok))
}

// serveAs answers an allowed request in the registry's own way.
func (q *recorded) serveAs(w http.ResponseWriter, r *http.Request) bool {
	blob := strings.Contains(r.URL.Path, "/blobs/sha256:")
	if r.Method == http.MethodHead && q.head != nil {
		if code := q.head(r.URL.Path); code != 0 {
			w.WriteHeader(code)
			return true
		}
	}
	if blob && q.cdn && r.Method == http.MethodGet {
		http.Redirect(w, r, q.store.URL+r.URL.Path+"?sig=ok&X-Amz-Credential=hush", http.StatusTemporaryRedirect)
		return true
	}
	r.URL.Path = strings.Replace(r.URL.Path, "/artifacts-uploads", "", 1)
	r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "_state=x%2Fy%3D%3D&", "")
	rec := httptest.NewRecorder()
	q.self.inner.ServeHTTP(rec, r)
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	if q.manifests != "" && strings.Contains(r.URL.Path, "/manifests/") {
		w.Header().Set("Content-Type", q.manifests)
	}
	if q.noDigest {
		w.Header().Del("Docker-Content-Digest")
	}
	if l := w.Header().Get("Location"); l != "" && q.location != nil && r.Method == http.MethodPost {
		w.Header().Set("Location", strings.ReplaceAll(q.location(l), "{host}", r.Host))
	}
	w.WriteHeader(rec.Code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(rec.Body.Bytes())
	}
	return true
}

// Pull, look-up, push, mount and login work with each of them; strangers and
// wrong passwords get the error that says so, and nothing is told.
func TestRegistriesWithQuirks(t *testing.T) {
	for _, q := range recordings {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			s, f := q.serve(t)
			ref := parseRef(t, "%s/%s:t", s.host(), q.repo)
			var said logBuffer
			c := quick(t, Options{Credentials: Static(q.cred()), Log: debugLog(&said)})
			if q.name != "ACR" { // whose login hands over a refresh token
				if err := c.Login(t.Context(), s.host(), q.cred()); err != nil {
					t.Errorf("login: %v", err)
				}
			}
			got, err := c.Resolve(t.Context(), ref, amd64())
			if err != nil || got.Descriptor.Digest != f.desc.Digest {
				t.Fatalf("resolve: %v", err)
			}
			if err := c.Fetch(t.Context(), ref, got.Layers, func(context.Context, Descriptor, io.Reader) error { return nil }); err != nil {
				t.Errorf("fetch: %v", err)
			}
			if d, err := c.Head(t.Context(), ref); err != nil || d.Digest != f.desc.Digest {
				t.Errorf("head: %v, %v", d, err)
			}
			img := pushable(t, random(2000, 3), random(2<<20, 4))
			img.Layers[0].From = []string{"other/base"}
			if _, err := c.Push(t.Context(), parseRef(t, "%s/%s:new", s.host(), q.repo), img, PushOptions{}); err != nil {
				t.Errorf("push: %v", err)
			}
			if _, err := c.Resolve(t.Context(), parseRef(t, "%s/%s:new", s.host(), q.repo), amd64()); err != nil {
				t.Errorf("pulled back: %v", err)
			}
			wrong := q.cred()
			wrong.Password, wrong.IdentityToken = "hush-wrong", strings.Replace(wrong.IdentityToken, "refresh", "hush", 1)
			for who, opts := range map[string]Options{"a stranger": {}, "a wrong password": {Credentials: Static(wrong)}} {
				opts.Log = debugLog(&said)
				_, err := quick(t, opts).Resolve(t.Context(), ref, amd64())
				if !errors.Is(err, ErrUnauthorized) || strings.Contains(err.Error(), "hush") {
					t.Errorf("%s: %v", who, err)
				}
			}
			for _, secret := range []string{"hush", "refresh-", "private_key"} {
				if strings.Contains(said.String(), secret) {
					t.Errorf("the log tells %q:\n%s", secret, said.String())
				}
			}
		})
	}
}
