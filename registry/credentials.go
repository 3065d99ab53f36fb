package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Credential is a secret for one registry. It never prints itself.
type Credential struct {
	Username, Password string
	// IdentityToken is an OAuth2 refresh token, used in place of the pair.
	IdentityToken string
	// RegistryToken is sent to the registry as a bearer token as it is.
	RegistryToken string
}

// String hides the secret.
func (c Credential) String() string { return "(secret)" }

// GoString hides the secret from %#v.
func (c Credential) GoString() string { return "(secret)" }

// Format hides the secret from every other verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// MarshalJSON hides the secret from logs in JSON.
func (c Credential) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }

// IsZero reports whether there is no secret.
func (c Credential) IsZero() bool { return c == Credential{} }

// Source gives credentials for a repository of a registry. host is as in
// image.Reference (image.DefaultHost for Docker Hub), repo without host and
// empty for the registry as a whole. The zero Credential means "none known"
// and is no error.
type Source interface {
	Get(ctx context.Context, host, repo string) (Credential, error)
}

// SourceFunc makes a Source of a function.
type SourceFunc func(ctx context.Context, host, repo string) (Credential, error)

// Get calls f.
func (f SourceFunc) Get(ctx context.Context, host, repo string) (Credential, error) {
	return f(ctx, host, repo)
}

// Static is a Source of one credential for whatever registry asks. Use it only
// as Options.Ask: as Options.Credentials it would be sent to every registry.
func Static(c Credential) Source {
	return SourceFunc(func(context.Context, string, string) (Credential, error) { return c, nil })
}

// Login checks a credential with a registry (image.DefaultHost is Docker Hub)
// and stores nothing. A registry that asks nobody for anything accepts all.
func (c *Client) Login(ctx context.Context, host string, cred Credential) error {
	host = ServerHost(host)
	opts := c.opts
	opts.Credentials, opts.Ask, opts.Auth, opts.AskAlways = Static(cred), nil, true, false
	once, err := New(opts)
	if err != nil {
		return err
	}
	defer once.Close()
	s := once.session(endpoint{host: host, insecure: c.opts.Registries.insecure(host)})
	resp, err := s.do(ctx, call{op: "log in to registry", object: host, method: http.MethodGet, url: "/v2/", ok: []int{http.StatusOK}, hasty: true})
	if err != nil {
		return err
	}
	discard(resp.Body)
	return nil
}

// ServerHost turns what users and credential files call a registry (a host, a
// URL, Docker Hub's several names; empty for Docker Hub) into the host of
// image.Reference.
func ServerHost(server string) string {
	host := server
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	switch strings.TrimSuffix(host, ":443") {
	case "", hubHost, "index.docker.io", hubAPIHost:
		return hubHost
	}
	return host
}
