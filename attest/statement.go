package attest

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// StatementType is the type of the statements that Collect makes, StatementV1
// that of later ones, which differ in nothing that is used here.
const (
	StatementType = "https://in-toto.io/Statement/v0.1"
	StatementV1   = "https://in-toto.io/Statement/v1"
)

// DigestSet names a thing by its digests: algorithm to lower-case hexadecimal
// digits (in-toto, spec/v1/digest_set.md).
type DigestSet map[string]string

// Digests is the set of one digest.
func Digests(d digest.Digest) DigestSet { return DigestSet{d.Algorithm().String(): d.Encoded()} }

// Has reports whether d is one of the set.
func (s DigestSet) Has(d digest.Digest) bool {
	return d != "" && s[d.Algorithm().String()] == d.Encoded()
}

// Subject is a thing that a statement is about.
type Subject struct {
	Name   string    `json:"name"`
	Digest DigestSet `json:"digest"`
}

// Statement is an in-toto statement.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// About reports whether one of the subjects has the digest.
func (s *Statement) About(d digest.Digest) bool {
	for _, sub := range s.Subject {
		if sub.Digest.Has(d) {
			return true
		}
	}
	return false
}

// AboutAny reports whether one of the subjects is one of the things.
func (s *Statement) AboutAny(things ...DigestSet) bool {
	for _, t := range things {
		if hex := t["sha256"]; hex != "" && s.About(digest.NewDigestFromEncoded(digest.SHA256, hex)) {
			return true
		}
	}
	return false
}

// Parse reads a statement, of either type.
func Parse(text []byte) (*Statement, error) {
	var s Statement
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	if s.Type != StatementType && s.Type != StatementV1 {
		return nil, fmt.Errorf("statement: its type is %q", s.Type)
	}
	return &s, nil
}

// PredicateTypes are the short names of types of predicates: ours, and those
// of cosign's --type.
func PredicateTypes() map[string]string {
	return map[string]string{
		"oci": CollectionType, "provenance": ProvenanceType,
		"slsaprovenance": "https://slsa.dev/provenance/v0.2", "slsaprovenance02": "https://slsa.dev/provenance/v0.2", "slsaprovenance1": ProvenanceType,
		"link": "https://in-toto.io/Link/v1", "spdx": "https://spdx.dev/Document", "spdxjson": "https://spdx.dev/Document",
		"cyclonedx": "https://cyclonedx.org/bom", "openvex": "https://openvex.dev/ns",
		"vuln": "https://cosign.sigstore.dev/attestation/vuln/v1", "custom": "https://cosign.sigstore.dev/attestation/v1",
	}
}
