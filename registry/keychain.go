package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Keychain reads and writes Docker's config.json and the containers tools'
// auth.json (one format: containers-auth.json(5)), and the credential helpers
// they name.
type Keychain struct {
	// Files are read in order, the first that knows the registry wins; one
	// that does not exist is empty. Store writes the first.
	Files []string
	// LookPath finds the program docker-credential-NAME; nil is
	// exec.LookPath. A helper inherits our environment: it needs HOME, the
	// session bus and the like.
	LookPath func(program string) (string, error)
}

// authFile is what is understood of a credential file.
type authFile struct {
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

type authEntry struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// credential decodes an entry. Docker pads the password with zero bytes in
// some versions.
func (e authEntry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth == "" {
		return c, nil
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(e.Auth), "="))
	if err != nil {
		return Credential{}, errors.New("member auth is not base64") // err would quote it
	}
	user, pass, ok := strings.Cut(string(raw), ":")
	if !ok {
		return Credential{}, errors.New("member auth is not user:password in base64")
	}
	c.Username, c.Password = user, strings.Trim(pass, "\x00")
	return c, nil
}

func readAuthFile(path string) (*authFile, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &authFile{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	var f authFile
	if len(strings.TrimSpace(string(b))) == 0 {
		return &f, nil
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("read credentials %q: %w", path, jsonPosition(err))
	}
	return &f, nil
}

// jsonPosition keeps of a JSON error what cannot quote a secret.
func jsonPosition(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("no JSON at byte %d", syntax.Offset)
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("member %s is no %s", kind.Field, kind.Type)
	}
	return errors.New("no JSON")
}

// Get implements Source. Within a file a helper for the very registry comes
// first, then entries from the longest path to the bare host, then the
// general helper.
func (k *Keychain) Get(ctx context.Context, host, repo string) (Credential, error) {
	for _, path := range k.Files {
		f, err := readAuthFile(path)
		if err != nil {
			return Credential{}, err
		}
		c, err := k.find(ctx, f, host, repo)
		if err != nil {
			return Credential{}, fmt.Errorf("credentials for %s in %q: %w", host, path, err)
		}
		if !c.IsZero() {
			return c, nil
		}
	}
	return Credential{}, nil
}

func (k *Keychain) find(ctx context.Context, f *authFile, host, repo string) (Credential, error) {
	for key, helper := range f.CredHelpers {
		if ServerHost(key) != host {
			continue
		}
		if c, err := k.helperGet(ctx, helper, key); err != nil || !c.IsZero() {
			return c, err
		}
	}
	for _, want := range authKeys(host, repo) {
		for key, e := range f.Auths {
			if normalKey(key) != want {
				continue
			}
			if c, err := e.credential(); err != nil || !c.IsZero() {
				return c, err
			}
		}
	}
	if f.CredsStore == "" {
		return Credential{}, nil
	}
	return k.helperGet(ctx, f.CredsStore, helperKey(host))
}

// authKeys are the names under which credentials for a repository may stand:
// host/a/b, host/a, host.
func authKeys(host, repo string) []string {
	keys := []string{host}
	for i, r := range repo {
		if r == '/' {
			keys = append(keys, host+"/"+repo[:i])
		}
	}
	if repo != "" {
		keys = append(keys, host+"/"+repo)
	}
	for i, j := 0, len(keys)-1; i < j; i, j = i+1, j-1 {
		keys[i], keys[j] = keys[j], keys[i]
	}
	return keys
}

// normalKey turns a key of a credential file into one of authKeys: old files
// hold URLs that end in /v1/ or /v2/, and Docker Hub has many names.
func normalKey(key string) string {
	_, rest, isURL := strings.Cut(key, "://")
	if !isURL {
		rest = key
	}
	rest = strings.TrimSuffix(rest, "/")
	_, path, _ := strings.Cut(rest, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	host := ServerHost(rest)
	if path == "" {
		return host
	}
	return host + "/" + path
}

// fileKey is the name that other tools write and expect.
func fileKey(host string) string {
	if host == hubHost {
		return hubAuthKey
	}
	return host
}

// helperKey is the server that helpers are asked for.
func helperKey(host string) string { return fileKey(host) }
