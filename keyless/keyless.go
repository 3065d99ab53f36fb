// Package keyless verifies signatures whose signer is named by a certificate:
// its chain to a trusted root, its validity at the time of the signature, the
// proofs of the logs, identity and issuer, and the signature itself. All of that
// is sigstore-go's work; here what cosign writes becomes what it reads.
//
// It is a program of its own, virga-keyless, because sigstore-go costs every
// start of a program that links it (docs/adr/0007-keyless-apart.md).
package keyless

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"virga/trust"
)

// Answer does what a request asks for.
func Answer(r *trust.KeylessRequest) trust.KeylessAnswer {
	trusted, err := trustedRoot(r.TrustedRoot)
	if err != nil {
		return trust.KeylessAnswer{Error: fmt.Sprintf("trusted root: %v", err), Unchecked: true}
	}
	b, err := entity(&r.Signature)
	if err != nil {
		return trust.KeylessAnswer{Error: err.Error()}
	}
	identity, issuer, err := check(trusted, b, r)
	if err != nil {
		return trust.KeylessAnswer{Error: err.Error()}
	}
	return trust.KeylessAnswer{Identity: identity, Issuer: issuer}
}

// trustedRoot reads a trusted_root.json; nil stands for that of Sigstore's TUF
// repository, which is kept where cosign keeps it.
func trustedRoot(text []byte) (*root.TrustedRoot, error) {
	if text != nil {
		return root.NewTrustedRootFromJSON(text)
	}
	return root.FetchTrustedRootWithOptions(tuf.DefaultOptions())
}

// entity is the signature as a bundle.
func entity(s *trust.Signature) (*bundle.Bundle, error) {
	if s.Bundle == nil {
		return legacy(s)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(s.Bundle); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return &b, nil
}

// check verifies an entity against a root. An entry in a log is demanded where
// the root names a log, a signed timestamp where it does not.
func check(trusted root.TrustedMaterial, e verify.SignedEntity, r *trust.KeylessRequest) (identity, issuer string, err error) {
	opts := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
	if len(trusted.RekorLogs()) > 0 {
		opts = append(opts, verify.WithTransparencyLog(1))
	}
	if !r.WithoutSCT {
		opts = append(opts, verify.WithSignedCertificateTimestamps(1))
	}
	v, err := verify.NewVerifier(trusted, opts...)
	if err != nil {
		return "", "", err
	}
	if r.Issuer == "" || r.Identity == "" && r.IdentityRegexp == "" {
		return "", "", errors.New("BUG: no identity or no issuer is demanded")
	}
	who, err := verify.NewShortCertificateIdentity(r.Issuer, "", r.Identity, r.IdentityRegexp)
	if err != nil {
		return "", "", err
	}
	artifact, err := signed(r)
	if err != nil {
		return "", "", err
	}
	result, err := v.Verify(e, verify.NewPolicy(artifact, verify.WithCertificateIdentity(who)))
	if err != nil {
		return "", "", err
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		return "", "", errors.New("no certificate signs")
	}
	c := result.Signature.Certificate
	return c.SubjectAlternativeName, c.Issuer, nil
}

// signed is what the signature must be over: the payload that lies beside it,
// or a statement about the image.
func signed(r *trust.KeylessRequest) (verify.ArtifactPolicyOption, error) {
	if len(r.Signature.Sig) > 0 {
		return verify.WithArtifact(bytes.NewReader(r.Signature.Payload)), nil
	}
	d, err := hex.DecodeString(r.Image.Encoded())
	return verify.WithArtifactDigest(r.Image.Algorithm().String(), d), err
}
