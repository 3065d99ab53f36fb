package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"virga/archive"
	"virga/attest"
	"virga/image"
	"virga/registry"
	"virga/trust"
)

// MaxAttestation bounds the bytes of an attestation.
const MaxAttestation = 32 << 20

// AttestationDemand is what an attestation must be to count.
type AttestationDemand struct {
	Signer  trust.Demand // who has signed it
	Keyless trust.KeylessVerifier
	Type    string // of the predicate; "": any but a signature's
}

// VerifiedAttestation is one that fulfils a demand.
type VerifiedAttestation struct {
	Statement *attest.Statement
	Payload   []byte        // the statement as it was signed
	Digest    digest.Digest // of what it is about; "" if that is a file
	Signer    string        // for people
}

// VerifyAttestations returns the attestations that lie beside what ref names in
// its registry and fulfil the demand: signed, and about the manifest or the
// index by which it was found. None is a *NoAttestationError.
func (x *Exchange) VerifyAttestations(ctx context.Context, ref image.Reference, platform registry.Want, want AttestationDemand) ([]VerifiedAttestation, error) {
	r, err := x.client.Resolve(ctx, ref, platform)
	if err != nil {
		return nil, err
	}
	digests := digestsOf(r.Index.Digest, r.Descriptor.Digest)
	refused := &NoAttestationError{Object: ref.String()}
	var out []VerifiedAttestation
	for _, d := range digests {
		found, err := x.documents(ctx, ref, d, &attestationKind)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", ref, err)
		}
		for _, f := range found {
			sig, err := x.fetchDocument(ctx, ref, f, MaxAttestation)
			if err == nil {
				var v *VerifiedAttestation
				if v, err = want.verify(ctx, sig, digests); err == nil {
					out = append(out, *v)
					continue
				}
			}
			if ctx.Err() != nil || !aboutSignature(err) {
				return nil, fmt.Errorf("verify %s: %w", ref, err)
			}
			refused.Causes = append(refused.Causes, err)
		}
	}
	if len(out) == 0 {
		return nil, refused
	}
	return out, nil
}

// VerifyFileAttestation reports whether the attestation in text, an envelope or
// a bundle, fulfils the demand and is about the file or directory of images at
// path: about the file as it is, or each of its images. All of it is read and
// compared as Attest does.
func (x *Exchange) VerifyFileAttestation(ctx context.Context, text []byte, path string, which archive.Want, want AttestationDemand) (*VerifiedAttestation, error) {
	v, err := want.verifyText(ctx, text)
	if err != nil {
		return nil, &NoAttestationError{Object: path, Causes: []error{err}}
	}
	have, err := x.Attest(ctx, path, AttestOptions{Want: which})
	if err != nil {
		return nil, err
	}
	return v, v.covers(have, path)
}

// VerifyStoredAttestation is VerifyFileAttestation for images in storage.
func (x *Exchange) VerifyStoredAttestation(ctx context.Context, text []byte, images []Named, want AttestationDemand) (*VerifiedAttestation, error) {
	v, err := want.verifyText(ctx, text)
	if err != nil {
		return nil, &NoAttestationError{Object: images[0].Image.Ref, Causes: []error{err}}
	}
	have, err := x.AttestStored(ctx, images, "")
	if err != nil {
		return nil, err
	}
	return v, v.covers(have, images[0].Image.Ref)
}

// covers compares the subjects with what a file holds.
func (v *VerifiedAttestation) covers(have *attest.Statement, object string) error {
	images, err := have.Images()
	if err != nil {
		return err
	}
	if len(images) == 0 {
		return fmt.Errorf("BUG: nothing was found in %s", object)
	}
	for i, img := range images {
		if !v.Statement.AboutAny(img.TarDigest, img.ManifestDigest, img.ImageID) {
			return &NoAttestationError{Object: object, Causes: []error{fmt.Errorf("%w: image %d of it is no subject", errOther, i+1)}}
		}
	}
	return nil
}

// errOther is a way in which an attestation does not count.
var errOther = errors.New("about something else")

// verifyText is verify for an envelope or a bundle from a file. Its signer is
// demanded by key: a keyless signature is only good for a digest.
func (want *AttestationDemand) verifyText(ctx context.Context, text []byte) (*VerifiedAttestation, error) {
	if want.Signer.Keyless != nil {
		return nil, errors.New("BUG: an identity is demanded of a file")
	}
	sig := &trust.Signature{Payload: text}
	if _, err := trust.ParseEnvelope(text); err != nil {
		if _, berr := trust.ParseBundle(text); berr != nil {
			return nil, fmt.Errorf("neither an envelope nor a bundle: %w; %w", err, berr)
		}
		sig = &trust.Signature{Bundle: text}
	}
	return want.verify(ctx, sig, nil)
}

// verify reads a signed statement. With digests it must be about one of them.
func (want *AttestationDemand) verify(ctx context.Context, sig *trust.Signature, digests []digest.Digest) (*VerifiedAttestation, error) {
	var refusals []error
	for _, d := range atLeastOne(digests) { // a keyless signature is verified for one
		by, doc, err := want.Signer.Signed(ctx, sig, d, want.Keyless)
		if err != nil {
			if !aboutSignature(err) {
				return nil, err
			}
			refusals = append(refusals, err)
			continue
		}
		return want.read(doc, by, digests)
	}
	return nil, refusals[0]
}

func atLeastOne(digests []digest.Digest) []digest.Digest {
	if len(digests) == 0 {
		return []digest.Digest{""}
	}
	return digests
}

// read takes a statement that is signed as demanded.
func (want *AttestationDemand) read(doc *trust.Document, by *image.Verification, digests []digest.Digest) (*VerifiedAttestation, error) {
	if doc.Type != trust.InTotoType {
		return nil, fmt.Errorf("its payload is %q, no statement", doc.Type)
	}
	v := &VerifiedAttestation{Payload: doc.Body, Signer: by.Signer()}
	var err error
	if v.Statement, err = attest.Parse(v.Payload); err != nil {
		return nil, err
	}
	if t := v.Statement.PredicateType; want.Type != "" && t != want.Type || t == trust.SignPredicate { // an image's signature lies in the same place
		return nil, fmt.Errorf("its predicate is %s", v.Statement.PredicateType)
	}
	if digests == nil {
		return v, nil
	}
	i := slices.IndexFunc(digests, v.Statement.About)
	if i < 0 {
		return nil, errOther
	}
	v.Digest = digests[i]
	return v, nil
}

// NoAttestationError says that nothing fulfils a demand.
type NoAttestationError struct {
	Object string  // what was to be attested
	Causes []error // why each attestation does not count; none: there is none
}

func (e *NoAttestationError) Error() string {
	if len(e.Causes) == 0 {
		return fmt.Sprintf("verify %s: it has no signed attestation", e.Object)
	}
	var words []string
	for _, c := range e.Causes {
		if w := c.Error(); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return fmt.Sprintf("verify %s: none of %d attestations counts: %s", e.Object, len(e.Causes), strings.Join(words, "; "))
}

// Unwrap gives the causes.
func (e *NoAttestationError) Unwrap() []error { return e.Causes }

// Hint says what may be done.
func (e *NoAttestationError) Hint() string {
	if len(e.Causes) == 0 {
		return "cosign attest makes one; what virga push attaches without a key is not signed"
	}
	return ""
}
