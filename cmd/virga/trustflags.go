package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/trust"
)

// verifyFlags are the options of pull, build and verify that demand signatures.
func verifyFlags() []cli.Flag {
	return append(signerFlags(),
		&cli.StringFlag{Name: "signature-policy", Usage: "demand what the policy in `FILE` says, not what the user's or the system's does"})
}

// signerFlags say who must have signed.
func signerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "verify-key", Usage: "demand a signature by the public key in `FILE`, or by one of several"},
		&cli.StringFlag{Name: "verify-identity", Usage: "demand a keyless signature by the identity `ID`"},
		&cli.StringFlag{Name: "verify-identity-regexp", Usage: "demand one by an identity that the regular expression `RE` matches as a whole"},
		&cli.StringFlag{Name: "verify-issuer", Usage: "the identity must be vouched for by `ISS`"},
		&cli.StringFlag{Name: "trusted-root", Usage: "the certificates and keys of Sigstore are those in `FILE`"},
	}
}

// trustOptions is what verifyFlags mean.
type trustOptions struct {
	keys     []string // files
	identity string
	pattern  string
	issuer   string
	root     string // file
	policy   string // file
}

func newTrustOptions(c *cli.Context) (trustOptions, error) {
	o := trustOptions{
		keys: c.StringSlice("verify-key"), identity: c.String("verify-identity"), pattern: c.String("verify-identity-regexp"),
		issuer: c.String("verify-issuer"), root: c.String("trusted-root"), policy: c.String("signature-policy"),
	}
	name := c.Command.Name
	given := func(option string) bool { return c.IsSet(option) && c.String(option) == "" }
	for _, option := range []string{"verify-identity", "verify-identity-regexp", "verify-issuer", "trusted-root", "signature-policy"} {
		if given(option) {
			return o, usagef("%s: --%s is empty", name, option)
		}
	}
	who := o.identity != "" || o.pattern != ""
	switch {
	case o.identity != "" && o.pattern != "":
		return o, usagef("%s: --verify-identity and --verify-identity-regexp exclude each other", name)
	case who && o.issuer == "":
		return o, &usageError{msg: name + ": --verify-issuer is missing: who vouches for the identity?", hint: "anybody can have any identity from an issuer of his own"}
	case o.issuer != "" && !who:
		return o, &usageError{msg: name + ": --verify-issuer without an identity: everybody whom it vouches for could sign", hint: "add --verify-identity ID or --verify-identity-regexp RE"}
	case who && len(o.keys) > 0:
		return o, usagef("%s: --verify-key and --verify-identity exclude each other", name)
	case o.root != "" && !who:
		return o, usagef("%s: --trusted-root is for --verify-identity", name)
	}
	if o.pattern != "" {
		if _, err := trust.NewKeyless("", o.pattern, o.issuer); err != nil {
			return o, usagef("%s: --verify-identity-regexp: %v", name, err)
		}
	}
	return o, nil
}

// given reports whether the command line demands anything by itself.
func (o *trustOptions) given() bool { return len(o.keys) > 0 || o.issuer != "" }

// trust reads the files that the options name.
func (o *trustOptions) trust(env *environment) (exchange.Trust, error) {
	t := exchange.Trust{Keyless: keylessVerifier{}}
	var err error
	if t.Policy, err = env.signaturePolicy(o.policy); err != nil || !o.given() {
		return t, err
	}
	want, err := o.demand(env)
	t.Demands = append(t.Demands, want)
	return t, err
}

// demand is what the command line says, without a policy.
func (o *trustOptions) demand(env *environment) (trust.Demand, error) {
	want := trust.Demand{Source: "--verify-key"}
	var err error
	if o.issuer != "" {
		want.Source = "--verify-identity"
		if want.Keyless, err = o.keyless(env); err != nil {
			return want, err
		}
	}
	want.Keys, err = env.publicKeys(o.keys)
	return want, err
}

// maxRoot bounds a trusted root.
const maxRoot = 4 << 20

func (o *trustOptions) keyless(env *environment) (*trust.Keyless, error) {
	k, err := trust.NewKeyless(o.identity, o.pattern, o.issuer)
	if err != nil || o.root == "" {
		return k, err
	}
	if k.TrustedRoot, err = readSmallFile(env.abs(o.root), maxRoot); err != nil {
		return nil, fmt.Errorf("--trusted-root %q: %w", o.root, err)
	}
	return k, nil
}

// policyFiles are where a signature policy is, the first that exists.
func (env *environment) policyFiles() []string {
	return []string{filepath.Join(env.configDir("containers"), "policy.json"), env.systemPolicy}
}

// maxPolicy bounds a signature policy.
const maxPolicy = 4 << 20

// signaturePolicy is the policy in file, else the user's, else the system's
// (containers-policy.json(5)); nil if there is none.
func (env *environment) signaturePolicy(file string) (*trust.Policy, error) {
	candidates := env.policyFiles()
	if file != "" {
		candidates = []string{env.abs(file)}
	}
	for _, name := range candidates {
		text, err := readSmallFile(name, maxPolicy)
		if errors.Is(err, fs.ErrNotExist) && file == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("signature policy %q: %w", name, err)
		}
		return trust.ParsePolicy(name, text, func(key string) ([]byte, error) {
			b, err := readSmallFile(key, maxKey)
			if err != nil {
				err = fmt.Errorf("%q: %w", key, err)
			}
			return b, err
		})
	}
	return nil, nil
}
