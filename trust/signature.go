package trust

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// What cosign 2 puts into manifests of signatures.
const (
	SimpleSigningType   = "application/vnd.dev.cosign.simplesigning.v1+json" // media type of a payload
	SignatureAnnotation = "dev.cosignproject.cosign/signature"               // of the payload's descriptor, base64

	certificateAnnotation = "dev.sigstore.cosign/certificate" // of a keyless signature, PEM
)

// SignPredicate is the predicate of the statement that cosign 3 signs for an
// image.
const SignPredicate = "https://sigstore.dev/cosign/sign/v1"

// MaxDocument bounds a payload, an envelope or a bundle of a signature. Those of
// cosign have less than 20 KiB, certificates and proofs included.
const MaxDocument = 1 << 20

// Signature is a signed document as found beside an image. It is one of three:
// cosign 2's signature (Payload and Sig), cosign 2's attestation (Payload, an
// envelope), or cosign 3's Bundle of either.
type Signature struct {
	Payload     []byte
	Sig         []byte
	Annotations map[string]string // of the payload's descriptor

	Bundle []byte // instead of all above
}

// Document is what was signed.
type Document struct {
	Type string // SimpleSigningType, or the payload type of an envelope
	Body []byte

	envelope *Envelope // it came in, or nil
	sig      []byte    // without envelope
	keyless  bool      // the signer is named by a certificate
}

// claim is what a signature says it is a signature of.
type claim struct {
	digests []digest.Digest
	name    string // repository[:tag], "" if it names none
}

// simplePayload is cosign's simple signing document (cosign's
// specs/SIGNATURE_SPEC.md).
type simplePayload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest digest.Digest `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

const simpleType = "cosign container image signature"

// SimplePayload is what cosign 2 signs for the manifest d of the repository
// of ref.
func SimplePayload(ref image.Reference, d digest.Digest) ([]byte, error) {
	var p simplePayload
	p.Critical.Identity.Reference = cosignName(ref)
	p.Critical.Image.Digest = d
	p.Critical.Type = simpleType
	return json.Marshal(p)
}

// cosignName names a repository as cosign does, with Docker Hub's old name.
func cosignName(ref image.Reference) string {
	host := ref.Host
	if host == image.DefaultHost {
		host = "index.docker.io"
	}
	return host + "/" + ref.Path
}

func parseSimple(text []byte) (claim, error) {
	var p simplePayload
	if err := json.Unmarshal(text, &p); err != nil {
		return claim{}, fmt.Errorf("payload: %w", err)
	}
	if p.Critical.Type != simpleType {
		return claim{}, fmt.Errorf("payload: its type is %q", p.Critical.Type)
	}
	return claim{[]digest.Digest{p.Critical.Image.Digest}, p.Critical.Identity.Reference}, nil
}

// statement is an in-toto statement, as far as signatures need it.
type statement struct {
	Type          string             `json:"_type"`
	Subject       []statementSubject `json:"subject"`
	PredicateType string             `json:"predicateType"`
	Predicate     struct{}           `json:"predicate"`
}

type statementSubject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// SignStatement is what cosign 3 signs for the manifest d.
func SignStatement(d digest.Digest) ([]byte, error) {
	return json.Marshal(statement{
		Type:          "https://in-toto.io/Statement/v1",
		Subject:       []statementSubject{{Digest: map[string]string{d.Algorithm().String(): d.Encoded()}}},
		PredicateType: SignPredicate,
	})
}

func parseStatement(payloadType string, text []byte) (claim, error) {
	var s statement
	if err := json.Unmarshal(text, &s); err != nil {
		return claim{}, fmt.Errorf("statement: %w", err)
	}
	switch {
	case payloadType != InTotoType:
		return claim{}, fmt.Errorf("statement: its payload type is %q", payloadType)
	case s.Type != "https://in-toto.io/Statement/v1" && s.Type != "https://in-toto.io/Statement/v0.1":
		return claim{}, fmt.Errorf("statement: its type is %q", s.Type)
	case s.PredicateType != SignPredicate:
		return claim{}, fmt.Errorf("statement: %q is no signature of an image", s.PredicateType)
	}
	var c claim
	for _, sub := range s.Subject {
		if hex := sub.Digest["sha256"]; hex != "" {
			c.digests = append(c.digests, digest.NewDigestFromEncoded(digest.SHA256, hex))
		}
	}
	return c, nil
}

// claimsOneOf returns which of digests the claim is about.
func (c claim) claimsOneOf(digests []digest.Digest) (digest.Digest, error) {
	for _, d := range digests {
		if slices.Contains(c.digests, d) {
			return d, nil
		}
	}
	return "", ErrOtherImage
}

// document opens the signature, unverified.
func (s *Signature) document() (*Document, error) {
	var env *Envelope
	keyless := s.Annotations[certificateAnnotation] != ""
	switch {
	case s.Bundle != nil:
		b, err := ParseBundle(s.Bundle)
		if err != nil {
			return nil, err
		}
		env, keyless = b.Envelope, b.Keyless()
	case len(s.Sig) > 0:
		return &Document{Type: SimpleSigningType, Body: s.Payload, sig: s.Sig, keyless: keyless}, nil
	default:
		var err error
		if env, err = ParseEnvelope(s.Payload); err != nil {
			return nil, err
		}
	}
	return &Document{Type: env.PayloadType, Body: env.Payload, envelope: env, keyless: keyless}, nil
}

// by reports whether key made the signature.
func (d *Document) by(key *PublicKey) bool {
	if d.envelope == nil {
		return key.Verify(d.Body, d.sig) == nil
	}
	_, err := d.envelope.Verify(key)
	return err == nil
}

// claim reads what the document says as the signature of an image.
func (d *Document) claim() (claim, error) {
	if d.Type == SimpleSigningType {
		return parseSimple(d.Body)
	}
	return parseStatement(d.Type, d.Body)
}

// By reports whether key made the signature, and for the manifest d.
func (s *Signature) By(key *PublicKey, d digest.Digest) bool {
	doc, err := s.document()
	if err != nil || !doc.by(key) {
		return false
	}
	c, err := doc.claim()
	if err == nil {
		_, err = c.claimsOneOf([]digest.Digest{d})
	}
	return err == nil
}
