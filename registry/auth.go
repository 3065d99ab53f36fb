package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// scope is the access that a request needs.
type scope struct {
	repo  string
	push  bool
	mount string // a second repository to read from
}

// list returns the scope in the words of the token specification
// (distribution.github.io/distribution/spec/auth/scope).
func (c scope) list() []string {
	if c.repo == "" {
		return nil
	}
	actions := "pull"
	if c.push {
		actions = "pull,push"
	}
	l := []string{"repository:" + c.repo + ":" + actions}
	if c.mount != "" {
		l = append(l, "repository:"+c.mount+":pull")
	}
	return l
}

// authState is what a session knows about its registry's ways and what the
// registry gave it. Look-ups, prompts and token requests happen under its
// lock, so that ten parallel downloads ask once.
type authState struct {
	mu        sync.Mutex
	challenge *transport.Challenge  // nil: the registry asked for nothing yet
	known     map[string]Credential // by repository, from Options.Credentials
	asked     Credential            // from Options.Ask
	spent     bool                  // asked has been used for a token
	excuse    error                 // why Options.Credentials could not answer
	tokens    map[string]*token     // by scope
	demanded  map[string][]string   // by scope: what the registry named beyond it
}

type token struct {
	value        string
	got, expires time.Time
}

// learn notes the challenge of a 401. The parser is that of transport.Ping,
// which is given the answer at hand instead of a network.
func (a *authState) learn(ctx context.Context, s *session, resp *http.Response) error {
	reg, err := name.NewRegistry(s.end.apiHost())
	if err != nil {
		return fmt.Errorf("reach registry %s: %w", s.end.host, err)
	}
	ch, err := transport.Ping(ctx, reg, canned{resp})
	if err != nil {
		return fmt.Errorf("read challenge of registry %s: %w", s.end.host, err)
	}
	switch strings.ToLower(ch.Scheme) {
	case "basic", "bearer":
		a.mu.Lock()
		a.challenge = ch
		a.mu.Unlock()
		return nil
	}
	if ch.Scheme == "" {
		return nil // the request itself will be refused, with its own words
	}
	return &Error{
		Op: "authenticate with registry", Object: s.end.host, Kind: ErrUnsupported,
		Err: fmt.Errorf("it wants %q, only Basic and Bearer are known", ch.Scheme),
	}
}

// canned answers every request with the head of an answer already had.
type canned struct{ resp *http.Response }

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusUnauthorized, Header: c.resp.Header, Body: http.NoBody, Request: c.resp.Request}, nil
}

// authenticated makes one attempt at a call, answering challenges on the way:
// a token that expired or is too narrow is replaced, and a registry that
// refuses strangers makes us ask for credentials.
func (s *session) authenticated(ctx context.Context, r call) (*http.Response, error) {
	for step := 1; ; step++ {
		auth, err := s.auth.authorization(ctx, s, r.scope)
		if err != nil {
			return nil, err
		}
		req, up, err := s.newRequest(ctx, r, auth)
		if err != nil {
			return nil, err
		}
		resp, err := s.send(req, up)
		if err != nil {
			return nil, err
		}
		if c := resp.StatusCode; c != http.StatusUnauthorized && c != http.StatusForbidden || step == 5 {
			return resp, nil
		}
		if !sameOrigin(resp.Request.URL.String(), s.base) {
			return s.elsewhere(ctx, resp)
		}
		again, err := s.auth.renew(ctx, s, r.scope, auth, resp)
		if err != nil || !again {
			return resp, err
		}
		discard(resp.Body)
	}
}

// authorization returns the header's value for a request, or "".
func (a *authState) authorization(ctx context.Context, s *session, sc scope) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.challenge == nil {
		return "", nil
	}
	cred, err := a.credential(ctx, s, sc.repo)
	if err != nil {
		return "", err
	}
	switch {
	case cred.RegistryToken != "":
		return "Bearer " + cred.RegistryToken, nil
	case strings.EqualFold(a.challenge.Scheme, "bearer"):
		t, err := a.token(ctx, s, sc, cred)
		if err != nil {
			return "", err
		}
		return "Bearer " + t.value, nil
	case cred.Username != "" || cred.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(cred.Username+":"+cred.Password)), nil
	}
	return "", nil
}

// renew reacts to a refusal of what was sent as used; true means that another
// attempt is worth it.
func (a *authState) renew(ctx context.Context, s *session, sc scope, used string, resp *http.Response) (bool, error) {
	if resp.StatusCode == http.StatusUnauthorized {
		if err := a.learn(ctx, s, resp); err != nil {
			return false, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.challenge == nil {
		return false, nil
	}
	cred, err := a.credential(ctx, s, sc.repo)
	if err != nil {
		return false, err
	}
	if strings.EqualFold(a.challenge.Scheme, "bearer") && cred.RegistryToken == "" {
		if a.widen(sc, used) {
			return true, nil
		}
	} else if !cred.IsZero() && (used == "" || cred.RegistryToken == "" && !strings.HasPrefix(used, "Basic ")) {
		// The challenge is news; or Harbor's, which is Basic after a token that
		// is too narrow (its issue 18856).
		return true, nil
	}
	if !cred.IsZero() && !s.client.opts.AskAlways {
		return false, nil
	}
	delete(a.tokens, strings.Join(sc.list(), " "))
	cred, err = a.ask(ctx, s, sc.repo)
	return !cred.IsZero(), err
}

// widen reports whether a new token may fare better than the one used:
// because another is there already, the registry named a scope that we did
// not, or the old one has aged.
func (a *authState) widen(sc scope, used string) bool {
	key := strings.Join(sc.list(), " ")
	t := a.tokens[key]
	if t == nil || "Bearer "+t.value != used {
		return true
	}
	want := a.challenge.Parameters["scope"]
	if want != "" && !slices.Contains(sc.list(), want) && !slices.Contains(a.demanded[key], want) {
		if a.demanded == nil {
			a.demanded = make(map[string][]string)
		}
		a.demanded[key] = append(a.demanded[key], want)
		delete(a.tokens, key)
		return true
	}
	if time.Since(t.got) > 10*time.Second {
		delete(a.tokens, key)
		return true
	}
	return false
}

// credential returns what is known for a repository without disturbing the
// user, unless Options.Auth says so.
func (a *authState) credential(ctx context.Context, s *session, repo string) (Credential, error) {
	if !a.asked.IsZero() {
		return a.asked, nil
	}
	cred, ok := a.known[repo]
	if !ok && s.client.opts.Credentials != nil {
		var err error
		if cred, err = s.client.opts.Credentials.Get(ctx, s.end.host, repo); err != nil {
			if ctx.Err() != nil {
				return Credential{}, context.Cause(ctx)
			}
			// A helper that is not installed must not stand between the user
			// and a public image.
			s.client.log.Warn("credentials cannot be read, going on without", "registry", s.end.host, "cause", err)
			a.excuse = err
		}
	}
	a.remember(repo, cred)
	if cred.IsZero() && s.client.opts.Auth {
		return a.ask(ctx, s, repo)
	}
	return cred, nil
}

func (a *authState) remember(repo string, cred Credential) {
	if a.known == nil {
		a.known = make(map[string]Credential)
	}
	a.known[repo] = cred
}

// ask turns to Options.Ask. Tokens that were got without its answer are
// forgotten.
func (a *authState) ask(ctx context.Context, s *session, repo string) (Credential, error) {
	if s.client.opts.Ask == nil {
		return Credential{}, nil
	}
	cred, err := s.client.opts.Ask.Get(ctx, s.end.host, repo)
	if err != nil {
		return Credential{}, &localError{fmt.Errorf("get credentials for registry %s: %w", s.end.host, err)}
	}
	if cred.IsZero() {
		return cred, nil
	}
	if a.asked.IsZero() {
		clear(a.tokens)
	}
	a.asked, a.spent = cred, false
	return cred, nil
}

// token returns a bearer token for sc, a remembered one if it is still good.
func (a *authState) token(ctx context.Context, s *session, sc scope, cred Credential) (*token, error) {
	key := strings.Join(sc.list(), " ")
	if t := a.tokens[key]; t != nil && time.Now().Before(t.expires) {
		return t, nil
	}
	if a.spent && s.client.opts.AskAlways {
		var err error
		if cred, err = a.ask(ctx, s, sc.repo); err != nil {
			return nil, err
		}
	}
	scopes := append(slices.Clone(a.demanded[key]), sc.list()...)
	got, err := a.exchange(ctx, s, scopes, &cred)
	if refused(err) && cred.IsZero() {
		if cred, _ = a.ask(ctx, s, sc.repo); !cred.IsZero() {
			got, err = a.exchange(ctx, s, scopes, &cred)
		}
	}
	if err != nil {
		return nil, err
	}
	if a.tokens == nil {
		a.tokens = make(map[string]*token)
	}
	a.tokens[key] = got
	a.spent = !a.asked.IsZero()
	if a.asked.IsZero() {
		a.remember(sc.repo, cred)
	}
	return got, nil
}

// refused reports whether a token server turned us away.
func refused(err error) bool {
	var te *transport.Error
	return errors.As(err, &te) && (te.StatusCode == http.StatusUnauthorized || te.StatusCode == http.StatusForbidden)
}

// exchange asks the realm of the challenge for a token. A refresh token that
// comes with it replaces cred's identity token.
func (a *authState) exchange(ctx context.Context, s *session, scopes []string, cred *Credential) (*token, error) {
	reg, err := realmRegistry(s.end.apiHost(), a.challenge.Parameters["realm"])
	if err != nil {
		return nil, err
	}
	auth := authn.Anonymous
	if !cred.IsZero() {
		auth = authn.FromConfig(authn.AuthConfig{Username: cred.Username, Password: cred.Password, IdentityToken: cred.IdentityToken})
	}
	tok, err := s.exchangeRetried(ctx, reg, auth, scopes, a.challenge)
	if err != nil {
		return nil, err
	}
	if tok.RefreshToken != "" && cred.IdentityToken != "" {
		cred.IdentityToken = tok.RefreshToken
	}
	value := tok.Token
	if tok.AccessToken != "" {
		value = tok.AccessToken
	}
	// The specification has clients take less than 60 seconds for 60.
	life := time.Duration(max(tok.ExpiresIn, 60)) * time.Second
	now := time.Now()
	return &token{value: value, got: now, expires: now.Add(life - 5*time.Second)}, nil
}

func (s *session) exchangeRetried(ctx context.Context, reg name.Registry, auth authn.Authenticator, scopes []string, ch *transport.Challenge) (*transport.Token, error) {
	for n := 1; ; n++ {
		once, cancel := context.WithTimeout(ctx, s.client.opts.Timeouts.Header)
		tok, err := transport.Exchange(once, reg, auth, s.http.Transport, scopes, ch)
		cancel()
		if err == nil {
			return tok, nil
		}
		var (
			network *url.Error
			te      *transport.Error
		)
		if !errors.As(err, &network) && !errors.As(err, &te) {
			// The second line may quote the answer, and with it a secret.
			first, _, _ := strings.Cut(err.Error(), "\n")
			return nil, &Error{Op: "get token for registry", Object: s.end.host, Kind: ErrProtocol, Err: errors.New(strings.TrimSuffix(first, ":"))}
		}
		if ctx.Err() != nil || !temporary(err) || n >= s.client.opts.Retry.Attempts {
			return nil, err
		}
		if err := sleep(ctx, s.client.backoff(n)); err != nil {
			return nil, err
		}
	}
}

// realmRegistry names the registry for transport.Exchange, which refuses
// realms at private addresses unless they are the registry's own host and
// port. A token server on another port of the registry's host is no stranger
// either (GitLab known by address only).
func realmRegistry(host, realm string) (name.Registry, error) {
	if u, err := url.Parse(realm); err == nil && u.Host != "" && u.Hostname() == hostname(host) {
		host = u.Host
	}
	reg, err := name.NewRegistry(host)
	if err != nil {
		return name.Registry{}, fmt.Errorf("token realm %q: %w", realm, err)
	}
	return reg, nil
}

// elsewhere answers the bearer challenge of a host that a redirect led to (a
// front that stands before several registries), as nobody: our credentials
// are the first registry's. An answer it can do nothing about is returned.
func (s *session) elsewhere(ctx context.Context, resp *http.Response) (*http.Response, error) {
	there := resp.Request
	if there.Method != http.MethodGet && there.Method != http.MethodHead {
		return resp, nil
	}
	host := session{client: s.client, end: endpoint{host: there.URL.Host}, http: s.http}
	if err := host.auth.learn(ctx, &host, resp); err != nil || host.auth.challenge == nil || !strings.EqualFold(host.auth.challenge.Scheme, "bearer") {
		return resp, nil
	}
	var scopes []string
	if sc := host.auth.challenge.Parameters["scope"]; sc != "" {
		scopes = []string{sc}
	}
	tok, err := host.auth.exchange(ctx, &host, scopes, &Credential{})
	if err != nil {
		return resp, nil
	}
	discard(resp.Body)
	req, err := http.NewRequestWithContext(ctx, there.Method, there.URL.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = there.Header.Clone()
	req.Header.Set("Authorization", "Bearer "+tok.value)
	return s.send(req, nil)
}

// unauthorized is the error for a refusal that no credential changed.
func (s *session) unauthorized(r call, status *statusError) *Error {
	e := &Error{Op: r.op, Object: r.object, Kind: ErrUnauthorized}
	s.auth.mu.Lock()
	stranger := s.auth.asked.IsZero() && s.auth.known[r.scope.repo].IsZero()
	excuse := s.auth.excuse
	s.auth.mu.Unlock()
	login := "virga login " + s.end.host
	switch {
	case stranger && excuse != nil:
		e.Err = fmt.Errorf("registry %s wants credentials (%w), but they cannot be read: %w", s.end.host, status, excuse)
		e.Advice = "repair that, or " + login
	case stranger && r.scope.push:
		e.Err = fmt.Errorf("registry %s takes nothing from strangers (%w)", s.end.host, status)
		e.Advice = login
	case stranger:
		e.Err = fmt.Errorf("registry %s does not give it to strangers, or has no such image (%w)", s.end.host, status)
		e.Advice = "check the name; for a private image: " + login
	default:
		e.Err = fmt.Errorf("registry %s refuses the credentials it was given (%w)", s.end.host, status)
		e.Advice = "log in again, or ask for access: " + login
	}
	return e
}
