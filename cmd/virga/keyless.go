package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/trust"
)

// keylessProgram verifies keyless signatures. It is a program of its own so
// that every other start of virga does not pay for what it links
// (docs/adr/0007-keyless-apart.md).
const keylessProgram = "virga-keyless"

// keylessTime bounds one verification, the fetching of the trusted root
// included.
const keylessTime = 2 * time.Minute

// keylessVerifier asks the program about signatures.
type keylessVerifier struct{}

func (keylessVerifier) VerifyKeyless(ctx context.Context, s *trust.Signature, want *trust.Keyless, d digest.Digest) (identity, issuer string, err error) {
	program, err := findKeyless()
	if err != nil {
		return "", "", err
	}
	request, err := json.Marshal(want.Request(s, d))
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, keylessTime)
	defer cancel()
	var out, words bytes.Buffer
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(request), &out, &words, time.Second
	unchecked := func(format string, a ...any) error { return &trust.UncheckedError{Err: fmt.Errorf(format, a...)} }
	if err := cmd.Run(); err != nil {
		return "", "", unchecked("%s: %w: %s", keylessProgram, err, firstLine(words.String()))
	}
	var a trust.KeylessAnswer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return "", "", unchecked("%s: %w", keylessProgram, err)
	}
	switch {
	case a.Unchecked:
		return "", "", &trust.UncheckedError{Err: errors.New(firstLine(a.Error)), Advice: "--trusted-root FILE takes the place of Sigstore's own root, which comes from the network"}
	case a.Error != "":
		return "", "", errors.New(firstLine(a.Error))
	case a.Identity == "" || a.Issuer != want.Issuer:
		return "", "", unchecked("%s: its answer names no signer", keylessProgram)
	}
	return a.Identity, a.Issuer, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// findKeyless looks beside this program, and where make install puts it. It is
// not looked for in $PATH: what is found there may be anybody's.
func findKeyless() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	for _, p := range []string{filepath.Join(dir, keylessProgram), filepath.Join(dir, "../libexec/virga", keylessProgram)} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", &trust.UncheckedError{
		Err:    fmt.Errorf("the program %s is not beside %q: %w", keylessProgram, self, fs.ErrNotExist),
		Advice: "install it with virga (make install), or demand a signature by key",
	}
}
