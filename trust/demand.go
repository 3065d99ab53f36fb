package trust

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// Demand is one thing that an image must fulfil: it is signed by one of Keys,
// or by an identity as Keyless says, or (Reject) it cannot be fulfilled.
type Demand struct {
	// Source says who demands it, for messages: an option, or a policy file
	// and its scope.
	Source  string
	Reject  string // why nothing fulfils the demand; "" if something can
	Keys    []*PublicKey
	Keyless *Keyless
	// Name, if not nil, decides whether the repository[:tag] that a signature
	// names is that of the image. A signature that names none is refused.
	Name func(signed string, ref image.Reference) bool
}

// Keyless demands a certificate of Fulcio for an identity.
type Keyless struct {
	Identity       string         // the certificate's subject alternative name, or
	IdentityRegexp *regexp.Regexp // a pattern for it
	Issuer         string         // who vouched for the identity
	// TrustedRoot is Sigstore's trusted_root.json; nil: that of Sigstore's own
	// TUF repository.
	TrustedRoot []byte
	// Without are proofs that the root says nothing about and that are not
	// asked for: a policy file names no key of a certificate log.
	WithoutSCT bool
}

// Verified says which signature fulfilled a demand.
type Verified struct {
	Digest           digest.Digest // the manifest or index that is signed
	Key              string        // the key's fingerprint, or
	Identity, Issuer string        // who the certificate is for
	Source           string        // Demand.Source
}

// KeylessVerifier checks a signature's certificate, its proofs and the
// signature itself, and returns the identity and its issuer.
type KeylessVerifier interface {
	VerifyKeyless(ctx context.Context, s *Signature, want *Keyless, d digest.Digest) (identity, issuer string, err error)
}

var (
	errOtherKey  = errors.New("it is not by the key asked for")
	errOtherName = errors.New("it names another image")
)

// Check reports whether a signature fulfils the demand for an image that is
// known under ref and has these digests: of its index, if it came by one, and
// of its manifest.
func (d *Demand) Check(ctx context.Context, s *Signature, ref image.Reference, digests []digest.Digest, keyless KeylessVerifier) (*Verified, error) {
	if d.Reject != "" {
		return nil, errors.New(d.Reject)
	}
	c, err := s.read()
	if err != nil {
		return nil, err
	}
	v := &Verified{Source: d.Source}
	if v.Digest, err = c.claimsOneOf(digests); err != nil {
		return nil, err
	}
	switch {
	case d.Name == nil:
	case c.name == "":
		return nil, fmt.Errorf("it names no image, and %s asks for the name", d.Source)
	case !d.Name(c.name, ref):
		return nil, fmt.Errorf("%w: %q", errOtherName, c.name)
	}
	for _, k := range d.Keys {
		if s.by(k) == nil {
			v.Key = k.Fingerprint()
			return v, nil
		}
	}
	if d.Keyless == nil {
		return nil, errOtherKey
	}
	v.Identity, v.Issuer, err = keyless.VerifyKeyless(ctx, s, d.Keyless, v.Digest)
	if err != nil {
		return nil, err
	}
	return v, nil
}
