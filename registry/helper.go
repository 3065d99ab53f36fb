package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Credential helpers are programs docker-credential-NAME with the verbs get,
// store and erase (github.com/docker/docker-credential-helpers, "Development").

// helperTimeout ends a helper that waits for nobody.
const helperTimeout = 60 * time.Second

// helperNotFound is what helpers print on standard output, with status 1, when
// they know nothing: the protocol's only way to say so.
const helperNotFound = "credentials not found in native keychain"

// tokenUser is the user name under which identity tokens are kept.
const tokenUser = "<token>"

type helperSecret struct {
	ServerURL string
	Username  string
	Secret    string
}

func (k *Keychain) helperGet(ctx context.Context, name, server string) (Credential, error) {
	out, err := k.helper(ctx, name, "get", []byte(server))
	if err != nil {
		if strings.Contains(string(out), helperNotFound) {
			return Credential{}, nil
		}
		return Credential{}, err
	}
	var s helperSecret
	if err := json.Unmarshal(out, &s); err != nil {
		return Credential{}, fmt.Errorf("credential helper %q: its answer is %w", name, jsonPosition(err))
	}
	if s.Username == tokenUser {
		return Credential{IdentityToken: s.Secret}, nil
	}
	return Credential{Username: s.Username, Password: s.Secret}, nil
}

func (k *Keychain) helperStore(ctx context.Context, name, server string, c Credential) error {
	s := helperSecret{ServerURL: server, Username: c.Username, Secret: c.Password}
	if c.IdentityToken != "" {
		s.Username, s.Secret = tokenUser, c.IdentityToken
	}
	in, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = k.helper(ctx, name, "store", in)
	return err
}

func (k *Keychain) helperErase(ctx context.Context, name, server string) error {
	out, err := k.helper(ctx, name, "erase", []byte(server))
	if err != nil && strings.Contains(string(out), helperNotFound) {
		return nil
	}
	return err
}

// helper runs one verb. What the helper printed is returned even with an
// error, and is in the error only if it is not an answer to get.
func (k *Keychain) helper(ctx context.Context, name, verb string, in []byte) ([]byte, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("credential helper %q: not a name", name)
	}
	look := k.LookPath
	if look == nil {
		look = exec.LookPath
	}
	path, err := look("docker-credential-" + name)
	if err != nil {
		return nil, fmt.Errorf("credential helper %q: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, path, verb)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errOut
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		said := errOut.String()
		if verb != "get" || said == "" {
			said += out.String()
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) && strings.TrimSpace(said) != "" {
			return out.Bytes(), fmt.Errorf("credential helper %q: %s: %s", name, verb, oneLine(said))
		}
		return out.Bytes(), fmt.Errorf("credential helper %q: %s: %w", name, verb, err)
	}
	return out.Bytes(), nil
}
