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

// tokenServer gives bearer tokens as the token specification says. Strangers
// get tokens that are good for repositories under "open/" alone.
type tokenServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // method and sorted scopes
	user     string   // of the last request
	serial   int
	valid    map[string][]string // token -> scopes
	refuse   bool                // strangers get 403 instead of a token
	identity string              // refresh token that is taken
}

func (ts *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	_ = r.ParseForm()
	scopes := r.Form["scope"]
	if r.Method == "POST" {
		scopes = strings.Fields(r.Form.Get("scope"))
	}
	ts.requests = append(ts.requests, r.Method+" "+strings.Join(scopes, " "))
	user, pass, basic := r.BasicAuth()
	ts.user = user
	known := basic && user == "jane" && pass == "secret"
	switch {
	case r.Method == "POST":
		known = r.Form.Get("grant_type") == "refresh_token" && r.Form.Get("refresh_token") == ts.identity
		if !known {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	case basic && !known:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}`)
		return
	case !basic && ts.refuse:
		w.WriteHeader(http.StatusForbidden)
		return
	}
	ts.serial++
	tok := fmt.Sprintf("token-%d", ts.serial)
	ts.valid[tok] = nil
	for _, sc := range scopes {
		if known || strings.HasPrefix(sc, "repository:open/") && strings.HasSuffix(sc, ":pull") {
			ts.valid[tok] = append(ts.valid[tok], sc)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": tok, "expires_in": 300})
}

// requireToken makes the registry demand tokens of ts.
func requireToken(t *testing.T, s *server) *tokenServer {
	t.Helper()
	ts := &tokenServer{valid: map[string][]string{}, identity: "refresh-me"}
	ts.Server = httptest.NewServer(ts)
	t.Cleanup(ts.Close)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool { return !ts.admit(w, r) })
	return ts
}

func (ts *tokenServer) admit(w http.ResponseWriter, r *http.Request) bool {
	repo, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	repo, _, _ = strings.Cut(repo, "/blobs/")
	action := "pull"
	if r.Method != "GET" && r.Method != "HEAD" {
		action = "pull,push"
	}
	want := "repository:" + repo + ":" + action
	tok, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	ts.mu.Lock()
	scopes, ok := ts.valid[tok]
	ts.mu.Unlock()
	if repo == "" && ok || slices.ContainsFunc(scopes, func(s string) bool { return strings.HasPrefix(s, want) }) {
		return true
	}
	ch := fmt.Sprintf(`Bearer realm="%s/token",service="test"`, ts.URL)
	if repo != "" {
		ch += fmt.Sprintf(`,scope="%s"`, want)
	}
	w.Header().Set("WWW-Authenticate", ch)
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	return false
}

func (ts *tokenServer) asked() []string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return slices.Clone(ts.requests)
}

// counted is a Source that counts how often it was asked.
type counted struct {
	cred  Credential
	mu    sync.Mutex
	calls []string
}

func (c *counted) Get(_ context.Context, host, repo string) (Credential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, host+" "+repo)
	return c.cred, nil
}

var jane = Credential{Username: "jane", Password: "secret"}

func TestBearer(t *testing.T) {
	tests := []struct {
		name, repo string
		opts       Options
		setup      func(*tokenServer)
		kind       error
		hint       string
		requests   int // of tokens
		asks       int
	}{
		{name: "stranger, open repository", repo: "open/app", requests: 1},
		{name: "stranger, closed repository", repo: "site/app", kind: ErrUnauthorized, hint: "virga login 127.0.0.1:", requests: 1},
		{name: "stored", repo: "site/app", opts: Options{Credentials: Static(jane)}, requests: 1},
		{name: "stored, wrong", repo: "open/app", opts: Options{Credentials: Static(Credential{Username: "jane", Password: "old"})}, kind: ErrUnauthorized, hint: "virga login", requests: 1},
		{name: "asked only when refused", repo: "open/app", opts: Options{Ask: &counted{cred: jane}}, requests: 1},
		{name: "asked when refused", repo: "site/app", opts: Options{Ask: &counted{cred: jane}}, requests: 2, asks: 1},
		{name: "asked when the token server refuses", repo: "site/app", opts: Options{Ask: &counted{cred: jane}}, setup: func(ts *tokenServer) { ts.refuse = true }, requests: 2, asks: 1},
		{name: "asked at once with Auth", repo: "open/app", opts: Options{Auth: true, Ask: &counted{cred: jane}}, requests: 1, asks: 1},
		{name: "nobody to ask", repo: "site/app", setup: func(ts *tokenServer) { ts.refuse = true }, kind: ErrUnauthorized, requests: 1},
		{name: "identity token", repo: "site/app", opts: Options{Credentials: Static(Credential{IdentityToken: "refresh-me"})}, requests: 1},
		{name: "old identity token", repo: "site/app", opts: Options{Credentials: Static(Credential{IdentityToken: "gone"})}, kind: ErrUnauthorized, requests: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t)
			f := s.putImage(tt.repo, "t", "linux/amd64", random(1000, 1), random(1000, 2), random(1000, 3))
			ts := requireToken(t, s)
			if tt.setup != nil {
				tt.setup(ts)
			}
			c := quick(t, tt.opts)
			ref := parseRef(t, "%s/%s:t", s.host(), tt.repo)
			_, err := c.Resolve(t.Context(), ref, amd64())
			if err == nil {
				err = c.Fetch(t.Context(), ref, f.descs, func(context.Context, Descriptor, io.Reader) error { return nil })
			}
			if tt.kind == nil && err != nil || !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			var e *Error
			if errors.As(err, &e) && !strings.Contains(e.Hint(), tt.hint) {
				t.Errorf("hint %q, want %q in it", e.Hint(), tt.hint)
			}
			for _, secret := range []string{"secret", "old", "gone", "refresh-me", "token-"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("error tells %q: %v", secret, err)
				}
			}
			if got := ts.asked(); len(got) != tt.requests {
				t.Errorf("token requests %q, want %d", got, tt.requests)
			}
			if a, ok := tt.opts.Ask.(*counted); ok && len(a.calls) != tt.asks {
				t.Errorf("asked %q, want %d times", a.calls, tt.asks)
			}
		})
	}
}

// A token that expires in the middle is replaced without a word.
func TestBearerExpires(t *testing.T) {
	s := serve(t)
	f := s.putImage("open/app", "t", "linux/amd64", random(1000, 1))
	ts := requireToken(t, s)
	c := quick(t, Options{})
	ref := parseRef(t, "%s/open/app:t", s.host())
	if _, err := c.Resolve(t.Context(), ref, amd64()); err != nil {
		t.Fatal(err)
	}
	ts.mu.Lock()
	clear(ts.valid)
	ts.mu.Unlock()
	ses := c.session(endpoint{host: s.host()})
	ses.auth.mu.Lock()
	for _, tok := range ses.auth.tokens { // as if time had passed
		tok.got = tok.got.Add(-1e12)
	}
	ses.auth.mu.Unlock()
	if _, err := readAll(t, c, s, "open/app", f.descs[0]); err != nil {
		t.Error(err)
	}
	if got := ts.asked(); len(got) != 2 {
		t.Errorf("token requests %q, want 2", got)
	}
}

func readAll(t *testing.T, c *Client, s *server, repo string, d Descriptor) ([]byte, error) {
	t.Helper()
	r, err := c.Blob(t.Context(), parseRef(t, "%s/%s:x", s.host(), repo), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Some registries let anybody in at /v2/ and challenge later.
func TestChallengeAfterOpenDoor(t *testing.T) {
	for _, scheme := range []string{"bearer", "basic"} {
		t.Run(scheme, func(t *testing.T) {
			s := serve(t)
			f := s.putImage("site/app", "t", "linux/amd64", random(1000, 1))
			ts := requireToken(t, s)
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/v2/":
					return false
				case scheme == "bearer":
					return !ts.admit(w, r)
				}
				return !admitBasic(w, r)
			})
			c := quick(t, Options{Credentials: Static(jane)})
			if _, err := c.Resolve(t.Context(), parseRef(t, "%s/site/app:t", s.host()), amd64()); err != nil {
				t.Error(err)
			}
			if _, err := readAll(t, c, s, "site/app", f.descs[0]); err != nil {
				t.Error(err)
			}
			_, err := quick(t, Options{}).Resolve(t.Context(), parseRef(t, "%s/site/app:t", s.host()), amd64())
			if !errors.Is(err, ErrUnauthorized) {
				t.Errorf("as nobody: %v", err)
			}
		})
	}
}

func admitBasic(w http.ResponseWriter, r *http.Request) bool {
	if u, p, _ := r.BasicAuth(); u == "jane" && p == "secret" {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func TestBasic(t *testing.T) {
	s := serve(t)
	s.putImage("app", "t", "linux/amd64", random(1000, 1))
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool { return !admitBasic(w, r) })
	ask := &counted{cred: jane}
	for _, tt := range []struct {
		name string
		opts Options
		kind error
	}{
		{"nobody", Options{}, ErrUnauthorized},
		{"stored", Options{Credentials: Static(jane)}, nil},
		{"wrong", Options{Credentials: Static(Credential{Username: "x", Password: "y"})}, ErrUnauthorized},
		{"asked", Options{Ask: ask}, nil},
		{"source fails", Options{Ask: SourceFunc(func(context.Context, string, string) (Credential, error) { return Credential{}, io.ErrUnexpectedEOF })}, io.ErrUnexpectedEOF},
	} {
		_, err := quick(t, tt.opts).Resolve(t.Context(), parseRef(t, "%s/app:t", s.host()), amd64())
		if tt.kind == nil && err != nil || !errors.Is(err, tt.kind) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.kind)
		}
	}
	if len(ask.calls) != 1 {
		t.Errorf("asked %q", ask.calls)
	}
}

// With AskAlways a one-time password serves one token.
func TestAskAlways(t *testing.T) {
	s := serve(t)
	s.putImage("site/a", "t", "linux/amd64", random(10, 1))
	s.putImage("site/b", "t", "linux/amd64", random(10, 1))
	requireToken(t, s)
	for _, always := range []bool{false, true} {
		ask := &counted{cred: jane}
		c := quick(t, Options{Auth: true, Ask: ask, AskAlways: always})
		for _, repo := range []string{"site/a", "site/b", "site/a"} {
			if _, err := c.Resolve(t.Context(), parseRef(t, "%s/%s:t", s.host(), repo), amd64()); err != nil {
				t.Fatal(err)
			}
		}
		if want := map[bool]int{false: 1, true: 2}[always]; len(ask.calls) != want {
			t.Errorf("AskAlways %v: asked %q, want %d times", always, ask.calls, want)
		}
	}
}

// A front redirects to registries that want tokens of their own.
func TestRedirectToAnotherRegistry(t *testing.T) {
	back := serve(t)
	f := back.putImage("open/app", "t", "linux/amd64", random(1000, 1))
	ts := requireToken(t, back)
	front := serve(t)
	front.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			return false
		}
		http.Redirect(w, r, back.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	c := quick(t, Options{Credentials: Static(jane)})
	got, err := c.Resolve(t.Context(), parseRef(t, "%s/open/app:t", front.host()), amd64())
	if err != nil || got.Descriptor != f.desc {
		t.Error(err)
	}
	if ts.user != "" {
		t.Errorf("the front's user %q went to the token server of another registry", ts.user)
	}
}

func TestTokenServerMisbehaves(t *testing.T) {
	for name, h := range map[string]struct {
		answer http.HandlerFunc
		kind   error
		says   string
	}{
		"no token":   {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"tok":"hush"}`) }, ErrProtocol, "no token"},
		"a web page": {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html>") }, ErrProtocol, ""},
		"broken":     {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, ErrUnreachable, "status 500"},
	} {
		s := serve(t)
		ts := httptest.NewServer(h.answer)
		s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+ts.URL+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		_, err := quick(t, Options{Credentials: Static(jane)}).Resolve(t.Context(), parseRef(t, "%s/a:t", s.host()), amd64())
		if !errors.Is(err, h.kind) || !strings.Contains(err.Error(), h.says) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %v with %q", name, err, h.kind, h.says)
		}
		ts.Close()
	}
}

func TestUnknownChallenge(t *testing.T) {
	s := serve(t)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("WWW-Authenticate", "Negotiate")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := quick(t, Options{}).Resolve(t.Context(), parseRef(t, "%s/a:t", s.host()), amd64())
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "negotiate") {
		t.Errorf("got %v", err)
	}
}

func TestLogin(t *testing.T) {
	for _, scheme := range []string{"bearer", "basic"} {
		s := serve(t)
		ts := requireToken(t, s)
		if scheme == "basic" {
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool { return !admitBasic(w, r) })
		}
		c := quick(t, Options{Credentials: Static(Credential{Username: "someone", Password: "else"})})
		if err := c.Login(t.Context(), "http://"+s.host()+"/v2/", jane); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		err := c.Login(t.Context(), s.host(), Credential{Username: "jane", Password: "wrong"})
		if !errors.Is(err, ErrUnauthorized) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: wrong password: %v", scheme, err)
		}
		_ = ts
	}
}

// A helper that is not installed does not keep anybody from a public image,
// and is named when the image turns out to be none.
func TestUnreadableCredentials(t *testing.T) {
	broken := SourceFunc(func(context.Context, string, string) (Credential, error) {
		return Credential{}, errors.New("no docker-credential-box")
	})
	s := serve(t)
	s.putImage("open/app", "t", "linux/amd64", []byte("x"))
	s.putImage("site/app", "t", "linux/amd64", []byte("x"))
	requireToken(t, s)
	c := quick(t, Options{Credentials: broken})
	if _, err := c.Resolve(t.Context(), parseRef(t, "%s/open/app:t", s.host()), amd64()); err != nil {
		t.Error(err)
	}
	_, err := c.Resolve(t.Context(), parseRef(t, "%s/site/app:t", s.host()), amd64())
	if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "no docker-credential-box") {
		t.Errorf("got %v", err)
	}
}

// Two downloads that are refused at the same time: what one of them asks for
// serves both.
func TestAskServesAll(t *testing.T) {
	s := serve(t)
	var refused sync.WaitGroup
	for _, repo := range []string{"site/a", "site/b"} {
		s.putImage(repo, "t", "linux/amd64", []byte("x"))
		refused.Add(1)
	}
	ts := requireToken(t, s)
	var first sync.Map
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			if _, again := first.LoadOrStore(r.URL.Path, true); !again {
				refused.Done()
				refused.Wait()
			}
		}
		return !ts.admit(w, r)
	})
	ask := &counted{cred: jane}
	c := quick(t, Options{Ask: ask})
	var all sync.WaitGroup
	for _, repo := range []string{"site/a", "site/b"} {
		ref := parseRef(t, "%s/%s:t", s.host(), repo)
		all.Go(func() {
			if _, err := c.Resolve(t.Context(), ref, amd64()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(ask.calls) != 1 {
		t.Errorf("asked %q, want once", ask.calls)
	}
}

// Harbor answers a token that is too narrow with a Basic challenge (its issue
// 18856). A user sends the password then, a stranger goes on with tokens.
func TestBasicChallengeToNarrowToken(t *testing.T) {
	s := serve(t)
	s.putImage("site/app", "t", "linux/amd64", []byte("x"))
	s.putImage("open/app", "t", "linux/amd64", []byte("x"))
	ts := requireToken(t, s)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/v2/site/"):
			return !ts.admit(w, r)
		case r.Header.Get("Authorization") == "":
			t.Errorf("no token for %s", r.URL.Path)
		}
		return !admitBasic(w, r)
	})
	for who, opts := range map[string]Options{"nobody": {}, "jane": {Credentials: Static(jane)}} {
		c := quick(t, opts)
		_, err := c.Resolve(t.Context(), parseRef(t, "%s/site/app:t", s.host()), amd64())
		if who == "nobody" && !errors.Is(err, ErrUnauthorized) || who == "jane" && err != nil {
			t.Errorf("%s: %v", who, err)
		}
		if who == "nobody" {
			if _, err := c.Resolve(t.Context(), parseRef(t, "%s/open/app:t", s.host()), amd64()); err != nil {
				t.Errorf("%s, afterwards: %v", who, err)
			}
		}
	}
}
