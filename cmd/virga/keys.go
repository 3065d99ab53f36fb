package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/term"

	"virga/attest"
	"virga/trust"
)

// maxKey is more than any key in PEM has.
const maxKey = 64 << 10

// signer reads the private key of --sign-key; nil if none is given.
func (env *environment) signer(file string) (*trust.Signer, error) {
	if file == "" {
		return nil, nil
	}
	text, err := readSmallFile(env.abs(file), maxKey)
	if err == nil {
		var s *trust.Signer
		if s, err = trust.ParsePrivateKey(text, func() ([]byte, error) { return env.keyPassword(file) }); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("--sign-key %q: %w", file, err)
}

// keyPassword is $COSIGN_PASSWORD, which may be empty, else what is typed.
func (env *environment) keyPassword(file string) ([]byte, error) {
	if v, ok := env.lookupEnv("COSIGN_PASSWORD"); ok {
		return []byte(v), nil
	}
	f, ok := env.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, errors.New("its password is neither in $COSIGN_PASSWORD nor can be asked for: standard input is not a terminal")
	}
	defer env.show.pause()()
	fmt.Fprintf(env.stderr, "Password for %s: ", file)
	secret, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(env.stderr)
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	return secret, nil
}

// readSmallFile reads a file of at most limit bytes.
func readSmallFile(path string, limit int64) ([]byte, error) {
	fi, err := os.Stat(path)
	if err == nil && fi.Mode().IsRegular() && fi.Size() > limit {
		return nil, fmt.Errorf("%d bytes, more than the %d that are accepted", fi.Size(), limit)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return b, err
}

// document is a statement as it is written: in an envelope if it is signed.
func document(st *attest.Statement, key *trust.Signer) ([]byte, error) {
	b, err := json.Marshal(st)
	if err == nil && key != nil {
		var e *trust.Envelope
		if e, err = key.Envelope(trust.InTotoType, b); err == nil {
			b, err = json.Marshal(e)
		}
	}
	return append(b, '\n'), err
}
