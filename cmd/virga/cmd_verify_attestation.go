package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/attest"
	"virga/exchange"
	"virga/registry"
	"virga/storage"
	"virga/trust"
)

// verifyAttestationOptions is what the options of verify-attestation mean.
type verifyAttestationOptions struct {
	object      string // FILE or REF as given
	signer      trustOptions
	predicate   string // type of it; "": any
	attestation string // --attestation: absolute; "": those in REF's registry
}

func verifyAttestationCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "verify-attestation",
		Usage:     "verify what was attested of an image",
		ArgsUsage: "FILE|REF",
		Description: `Prints the statements about the image REF of a registry that a key or an
identity has signed, one a line: attestations by cosign, and those that virga attached. With
--attestation the signed statement in a file is verified, and the images in
FILE, or the image REF in storage, are read and compared with it.`,
		Flags: append(signerFlags(),
			&cli.StringFlag{Name: "type", Usage: "demand the predicate `TYPE`: an address, oci, provenance, or a word of cosign's (default: any)"},
			&cli.StringFlag{Name: "attestation", Usage: "verify the attestation in `FILE`, or standard input if it is -"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "FILE or REF"); err != nil {
				return err
			}
			o := verifyAttestationOptions{object: c.Args().First()}
			var err error
			if o.signer, err = newTrustOptions(c); err != nil {
				return err
			}
			f := c.String("attestation")
			switch {
			case !o.signer.given():
				return &usageError{msg: "verify-attestation: whose attestation?", hint: "--verify-key FILE, or --verify-identity ID with --verify-issuer ISS"}
			case f != "" && o.signer.issuer != "":
				return usagef("verify-attestation: --attestation is for --verify-key: an identity is verified in a registry")
			case f == "-":
				o.attestation = "/dev/stdin"
			case f != "":
				o.attestation = env.abs(f)
			}
			if o.predicate, err = predicateType(c.String("type")); err != nil {
				return err
			}
			return runVerifyAttestation(c.Context, env, o)
		},
	}
}

// predicateType reads --type.
func predicateType(word string) (string, error) {
	if word == "" || strings.Contains(word, ":") {
		return word, nil
	}
	known := attest.PredicateTypes()
	if t := known[word]; t != "" {
		return t, nil
	}
	return "", notOneOf("verify-attestation: --type", word, slices.Sorted(maps.Keys(known)))
}

func runVerifyAttestation(ctx context.Context, env *environment, o verifyAttestationOptions) error {
	want := exchange.AttestationDemand{Type: o.predicate, Keyless: keylessVerifier{}}
	var err error
	if want.Signer, err = o.signer.demand(env); err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{}, func(store *storage.Store, x *exchange.Exchange) error {
		found, err := o.verify(ctx, env, store, x, want)
		if err != nil {
			return err
		}
		for _, v := range found {
			about := o.object
			if v.Digest != "" {
				about += " (" + shortID(v.Digest) + ")"
			}
			env.log.Info(fmt.Sprintf("verified %s: %s, by %s", about, v.Statement.PredicateType, v.Signer))
			var line bytes.Buffer
			if err := json.Compact(&line, v.Payload); err != nil {
				return err
			}
			fmt.Fprintln(env.stdout, line.String())
		}
		return nil
	})
}

// verify looks beside REF in its registry, or into the file of --attestation.
func (o *verifyAttestationOptions) verify(ctx context.Context, env *environment, store *storage.Store, x *exchange.Exchange, want exchange.AttestationDemand) ([]exchange.VerifiedAttestation, error) {
	if o.attestation == "" {
		ref, err := env.remoteReference(o.object)
		if err != nil {
			return nil, err
		}
		return x.VerifyAttestations(ctx, ref, registry.Want{Platform: env.globals.platform, Yolo: env.globals.anyPlatform}, want)
	}
	text, err := readSmallFile(o.attestation, exchange.MaxAttestation)
	if err != nil {
		return nil, fmt.Errorf("--attestation %q: %w", o.attestation, err)
	}
	images, path, err := env.imagesOrFile(store, parsePlace(env, o.object))
	if err != nil {
		return nil, err
	}
	var v *exchange.VerifiedAttestation
	if images != nil {
		v, err = x.VerifyStoredAttestation(ctx, text, images, want)
	} else {
		which := env.wantedFromFiles()
		which.All = !which.Strict
		v, err = x.VerifyFileAttestation(ctx, text, path, which, want)
	}
	if err != nil {
		return nil, err
	}
	return []exchange.VerifiedAttestation{*v}, nil
}

// publicKeys reads the files of --verify-key.
func (env *environment) publicKeys(files []string) ([]*trust.PublicKey, error) {
	var keys []*trust.PublicKey
	for _, f := range files {
		text, err := readSmallFile(env.abs(f), maxKey)
		if err == nil {
			var k *trust.PublicKey
			if k, err = trust.ParsePublicKey(text); err == nil {
				keys = append(keys, k)
				continue
			}
		}
		return nil, fmt.Errorf("--verify-key %q: %w", f, err)
	}
	return keys, nil
}
