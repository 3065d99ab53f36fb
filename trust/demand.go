package trust

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// Demand is one thing that an image must fulfil: it is signed by one of Keys,
// or by an identity as Keyless says. With Reject, nothing fulfils it.
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
	// WithoutSCT does without the proof that the certificate is logged: a
	// policy file names no key of a certificate log.
	WithoutSCT bool
}

// root names the trusted root: signatures that one root lets pass are nothing
// to another.
func (k *Keyless) root() string {
	if k.TrustedRoot == nil {
		return ""
	}
	return digest.FromBytes(k.TrustedRoot).String()
}

func (k *Keyless) matches(identity string) bool {
	if k.IdentityRegexp != nil {
		return k.IdentityRegexp.MatchString(identity)
	}
	return k.Identity == identity
}

// KeylessVerifier checks a signature's certificate, its proofs and the
// signature itself, and returns the identity and its issuer. d is the image
// that the signature lies beside. An error that says nothing about the signature
// is an *UncheckedError.
type KeylessVerifier interface {
	VerifyKeyless(ctx context.Context, s *Signature, want *Keyless, d digest.Digest) (identity, issuer string, err error)
}

// The ways in which a signature does not fulfil a demand, for errors.Is.
var (
	ErrOtherKey   = errors.New("not by the key asked for")
	ErrOtherImage = errors.New("of another image")
	ErrOtherName  = errors.New("for another name")
)

// Signed reports who of those that the demand asks for signed s, and returns
// what is signed. Whether that is about the image d is for the caller to see.
func (want *Demand) Signed(ctx context.Context, s *Signature, d digest.Digest, keyless KeylessVerifier) (*image.Verification, *Document, error) {
	if want.Reject != "" {
		return nil, nil, errors.New(want.Reject)
	}
	doc, err := s.document()
	if err != nil {
		return nil, nil, err
	}
	v := &image.Verification{Digest: d, Source: want.Source, Time: time.Now().UTC()}
	for _, k := range want.Keys {
		if doc.by(k) {
			v.Key = k.Fingerprint()
			return v, doc, nil
		}
	}
	switch {
	case want.Keyless == nil:
		return nil, nil, ErrOtherKey
	case !doc.keyless:
		return nil, nil, errors.New("by a key, not by an identity")
	}
	v.Root = want.Keyless.root()
	v.Identity, v.Issuer, err = keyless.VerifyKeyless(ctx, s, want.Keyless, d)
	if err != nil {
		return nil, nil, err
	}
	return v, doc, nil
}

// Check reports whether a signature fulfils the demand for an image that is
// known under ref and has these digests: of its index, if it came by one, and
// of its manifest.
func (want *Demand) Check(ctx context.Context, s *Signature, ref image.Reference, digests []digest.Digest, keyless KeylessVerifier) (*image.Verification, error) {
	if want.Reject != "" {
		return nil, errors.New(want.Reject)
	}
	doc, err := s.document()
	if err != nil {
		return nil, err
	}
	c, err := doc.claim()
	if err != nil {
		return nil, err
	}
	d, err := c.claimsOneOf(digests)
	if err != nil {
		return nil, err
	}
	if err := want.named(c.name, ref); err != nil {
		return nil, err
	}
	v, _, err := want.Signed(ctx, s, d, keyless)
	if err != nil {
		return nil, err
	}
	v.Name = c.name
	return v, nil
}

func (want *Demand) named(signed string, ref image.Reference) error {
	switch {
	case want.Name == nil:
		return nil
	case signed == "":
		return fmt.Errorf("%w: it has none", ErrOtherName)
	case !want.Name(signed, ref):
		return fmt.Errorf("%w: %q", ErrOtherName, signed)
	}
	return nil
}

// Remembers reports whether v, which was found at some time before, is an
// answer to the demand: signatures do not go bad.
func (want *Demand) Remembers(v *image.Verification, ref image.Reference, digests []digest.Digest) bool {
	if want.Reject != "" || !slices.Contains(digests, v.Digest) || want.named(v.Name, ref) != nil {
		return false
	}
	if v.Key != "" {
		return slices.ContainsFunc(want.Keys, func(k *PublicKey) bool { return k.Fingerprint() == v.Key })
	}
	k := want.Keyless
	return k != nil && v.Issuer != "" && k.Issuer == v.Issuer && k.matches(v.Identity) && k.root() == v.Root
}

// UncheckedError says why keyless signatures cannot be checked.
type UncheckedError struct {
	Err    error
	Advice string
}

func (e *UncheckedError) Error() string {
	return "keyless signatures cannot be checked: " + e.Err.Error()
}
func (e *UncheckedError) Unwrap() error { return e.Err }

// Hint says what may be done, or "".
func (e *UncheckedError) Hint() string { return e.Advice }

// RefusedError says that an image does not fulfil a demand.
type RefusedError struct {
	Image  string // as the user named it
	Source string // Demand.Source
	Reject string // Demand.Reject
	// Causes are why each signature was not taken; none: it has no signature.
	Causes []error
}

// Error counts equal causes.
func (e *RefusedError) Error() string {
	switch {
	case e.Reject != "":
		return fmt.Sprintf("verify %s: %s: %s", e.Image, e.Source, e.Reject)
	case len(e.Causes) == 0:
		return fmt.Sprintf("verify %s: it has no signature, and %s demands one", e.Image, e.Source)
	}
	var words []string
	count := map[string]int{}
	for _, c := range e.Causes {
		if count[c.Error()]++; count[c.Error()] == 1 {
			words = append(words, c.Error())
		}
	}
	for i, w := range words {
		if n := count[w]; n > 1 {
			words[i] = fmt.Sprintf("%s (%d times)", w, n)
		}
	}
	return fmt.Sprintf("verify %s: no signature as %s demands: %s", e.Image, e.Source, strings.Join(words, "; "))
}

// Hint says what may be done.
func (e *RefusedError) Hint() string {
	is := func(target error) bool {
		return slices.ContainsFunc(e.Causes, func(c error) bool { return errors.Is(c, target) })
	}
	switch {
	case e.Reject != "":
		return ""
	case len(e.Causes) == 0:
		return "ask who made the image for a signature; virga sign makes one"
	case is(ErrOtherName):
		return "the image was signed under another name; a policy can accept that with signedIdentity (containers-policy.json(5))"
	case is(ErrOtherKey):
		return "is it the right key? Who made the image may have signed with a newer one"
	}
	return "the image or its signature is not what its maker published: do not use it, and ask who made it"
}
