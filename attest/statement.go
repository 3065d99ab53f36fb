package attest

import (
	"encoding/json"

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
