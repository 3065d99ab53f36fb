package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// minRSA is the shortest RSA key that is taken: Sigstore's algorithm registry
// knows none shorter.
const minRSA = 2048

// PublicKey verifies signatures.
type PublicKey struct {
	key crypto.PublicKey
	der []byte // PKIX
}

// ParsePublicKey reads a PEM "PUBLIC KEY" (PKIX): ECDSA on P-256, P-384 or
// P-521, Ed25519, or RSA of 2048 bits and more.
func ParsePublicKey(text []byte) (*PublicKey, error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("public key: no PEM block in it")
	case block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("public key: a PEM block of type %q, not \"PUBLIC KEY\"", block.Type)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return newPublicKey(key)
}

func newPublicKey(key crypto.PublicKey) (*PublicKey, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if _, err := hashes(k); err != nil {
			return nil, err
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("public key: RSA with %d bits, at least %d are needed", k.N.BitLen(), minRSA)
		}
	default:
		return nil, fmt.Errorf("public key: %T is not supported; ECDSA, Ed25519 and RSA are", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return &PublicKey{key: key, der: der}, nil
}

// hashes are the hash functions with which a key on a curve may sign: that of
// the curve's strength, as Sigstore's algorithm registry has it, and SHA-256, as
// cosign and virga do.
func hashes(k *ecdsa.PublicKey) ([]crypto.Hash, error) {
	switch k.Curve {
	case elliptic.P256():
		return []crypto.Hash{crypto.SHA256}, nil
	case elliptic.P384():
		return []crypto.Hash{crypto.SHA384, crypto.SHA256}, nil
	case elliptic.P521():
		return []crypto.Hash{crypto.SHA512, crypto.SHA256}, nil
	}
	return nil, fmt.Errorf("public key: the curve %s is not supported; P-256, P-384 and P-521 are", k.Params().Name)
}

// ErrSignature says that a signature is not that of the key over the bytes.
var ErrSignature = errors.New("signature does not match")

// Verify checks sig, as Sign or cosign made it: ASN.1 for ECDSA, PKCS #1 v1.5
// with SHA-256 for RSA, Ed25519 plain or prehashed. The error is ErrSignature.
func (k *PublicKey) Verify(message, sig []byte) error {
	ok := false
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		hs, _ := hashes(key)
		for _, h := range hs {
			ok = ok || ecdsa.VerifyASN1(key, sum(h, message), sig)
		}
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum(crypto.SHA256, message), sig) == nil
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, message, sig) ||
			ed25519.VerifyWithOptions(key, sum(crypto.SHA512, message), sig, &ed25519.Options{Hash: crypto.SHA512}) == nil
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

func sum(h crypto.Hash, message []byte) []byte {
	w := h.New()
	w.Write(message)
	return w.Sum(nil)
}

// PEM returns the key as ParsePublicKey reads it.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

// Fingerprint names the key: sha256: and the digest of its DER form.
func (k *PublicKey) Fingerprint() string {
	s := sha256.Sum256(k.der)
	return "sha256:" + hex.EncodeToString(s[:])
}

// Hint is how a Sigstore bundle names the key (cosign 3, sigstore-go).
func (k *PublicKey) Hint() string {
	s := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(s[:])
}
