package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// BundleType is the media type of the bundles that are written (Sigstore
// bundle format 0.3), and BundlePrefix what those of all versions begin with.
const (
	BundleType   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	BundlePrefix = "application/vnd.dev.sigstore.bundle"
)

// Bundle is a Sigstore bundle around an envelope, as far as signatures by key
// need it (sigstore/protobuf-specs, sigstore_bundle.proto). The materials of
// keyless signatures are read elsewhere.
type Bundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial verificationMaterial `json:"verificationMaterial"`
	Envelope             *Envelope            `json:"dsseEnvelope,omitempty"`
}

type verificationMaterial struct {
	PublicKey            *keyHint        `json:"publicKey,omitempty"`
	Certificate          json.RawMessage `json:"certificate,omitempty"`
	X509CertificateChain json.RawMessage `json:"x509CertificateChain,omitempty"`
}

type keyHint struct {
	Hint string `json:"hint,omitempty"`
}

// NewBundle puts an envelope that signer signed into a bundle, as cosign 3
// does for a signature by key that no transparency log knows.
func NewBundle(env *Envelope, key *PublicKey) ([]byte, error) {
	return json.Marshal(Bundle{
		MediaType:            BundleType,
		VerificationMaterial: verificationMaterial{PublicKey: &keyHint{key.Hint()}},
		Envelope:             env,
	})
}

// ParseBundle reads a bundle that holds an envelope.
func ParseBundle(text []byte) (*Bundle, error) {
	var b Bundle
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	switch {
	case !strings.HasPrefix(b.MediaType, BundlePrefix):
		return nil, fmt.Errorf("bundle: its media type is %q", b.MediaType)
	case b.Envelope == nil:
		return nil, errors.New("bundle: it holds no envelope")
	}
	return &b, b.Envelope.check()
}

// Keyless reports whether the bundle names its signer by a certificate.
func (b *Bundle) Keyless() bool {
	return b.VerificationMaterial.Certificate != nil || b.VerificationMaterial.X509CertificateChain != nil
}
