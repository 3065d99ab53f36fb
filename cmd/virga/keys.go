package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/term"

	"virga/attest"
	"virga/trust"
)

// maxKey is more than any key in PEM has.
const maxKey = 64 << 10

// signer reads the private key that an option names; nil if it names none.
func (env *environment) signer(option, file string) (*trust.Signer, error) {
	if file == "" {
		return nil, nil
	}
	text, err := readSmallFile(env.abs(file), maxKey)
	if err == nil {
		var s *trust.Signer
		if s, err = trust.ParsePrivateKey(text, func() ([]byte, error) { return env.keyPassword("Password for " + file) }); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s %q: %w", option, file, err)
}

// keyPassword is $COSIGN_PASSWORD, which may be empty, else what is typed.
func (env *environment) keyPassword(prompt string) ([]byte, error) {
	if v, ok := env.lookupEnv("COSIGN_PASSWORD"); ok {
		return []byte(v), nil
	}
	f, ok := env.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, &hintedError{errors.New("the key is encrypted, and there is no terminal to ask for the password"), "set $COSIGN_PASSWORD"}
	}
	defer env.show.pause()()
	fmt.Fprint(env.stderr, prompt+": ")
	secret, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(env.stderr)
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	return secret, nil
}

// readSmallFile reads a file of at most limit bytes.
func readSmallFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than the %d bytes that are accepted", limit)
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
