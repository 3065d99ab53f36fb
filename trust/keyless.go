package trust

import (
	"regexp"

	"github.com/opencontainers/go-digest"
)

// KeylessRequest is what the program virga-keyless reads: a signature, the
// image that it lies beside, and what is demanded.
type KeylessRequest struct {
	Signature      Signature     `json:"signature"`
	Image          digest.Digest `json:"image"`
	Identity       string        `json:"identity,omitempty"`
	IdentityRegexp string        `json:"identityRegexp,omitempty"`
	Issuer         string        `json:"issuer"`
	TrustedRoot    []byte        `json:"trustedRoot,omitempty"`
	WithoutSCT     bool          `json:"withoutSCT,omitempty"`
}

// KeylessAnswer is what virga-keyless writes: who signed, or why the signature
// is not good.
type KeylessAnswer struct {
	Identity string `json:"identity,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	Error    string `json:"error,omitempty"`
	// Unchecked says that Error is not about the signature: it was not come to.
	Unchecked bool `json:"unchecked,omitempty"`
}

// Request asks whether s is as k demands.
func (k *Keyless) Request(s *Signature, d digest.Digest) *KeylessRequest {
	r := &KeylessRequest{Signature: *s, Image: d, Identity: k.Identity, Issuer: k.Issuer, TrustedRoot: k.TrustedRoot, WithoutSCT: k.WithoutSCT}
	if k.IdentityRegexp != nil {
		r.IdentityRegexp = k.IdentityRegexp.String()
	}
	return r
}

// NewKeyless demands an identity, or one that pattern matches as a whole if
// identity is "".
func NewKeyless(identity, pattern, issuer string) (*Keyless, error) {
	k := &Keyless{Identity: identity, Issuer: issuer}
	if identity == "" {
		var err error
		if k.IdentityRegexp, err = regexp.Compile("^(?:" + pattern + ")$"); err != nil {
			return nil, err
		}
	}
	return k, nil
}
