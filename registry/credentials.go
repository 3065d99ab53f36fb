package registry

import "context"

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

// Sources asks each in order and returns the first credential known.
type Sources []Source

// Get implements Source.
func (s Sources) Get(ctx context.Context, host, repo string) (Credential, error) {
	panic("BUG: not yet")
}

// Keychain reads Docker's config.json and the containers tools' auth.json
// (one format, containers-auth.json(5)), and the credential helpers they name.
type Keychain struct {
	// Files are read in order, the first that knows the registry wins; one
	// that does not exist is empty.
	Files []string
}

// Get implements Source.
func (k *Keychain) Get(ctx context.Context, host, repo string) (Credential, error) {
	panic("BUG: not yet")
}

// Store writes the credential for host (or host/path) to the first of Files,
// or into the credential helper that this file names for the host.
func (k *Keychain) Store(ctx context.Context, host string, cred Credential) error {
	panic("BUG: not yet")
}

// Erase removes the credentials of host from all Files and their helpers and
// reports whether there were any.
func (k *Keychain) Erase(ctx context.Context, host string) (bool, error) {
	panic("BUG: not yet")
}

// Login checks a credential with the registry; it stores nothing.
func (c *Client) Login(ctx context.Context, host string, cred Credential) error {
	panic("BUG: not yet")
}
