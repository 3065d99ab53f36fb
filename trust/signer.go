package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// The PEM types of encrypted private keys: cosign's since 2.0, and before.
const (
	sigstoreKey = "ENCRYPTED SIGSTORE PRIVATE KEY"
	cosignKey   = "ENCRYPTED COSIGN PRIVATE KEY"
)

// ErrPassword says that a private key is not opened by the password.
var ErrPassword = errors.New("the password is wrong, or the file is damaged")

// Signer signs with a private key.
type Signer struct {
	key    crypto.Signer
	public *PublicKey
}

// ParsePrivateKey reads a private key in PEM: cosign's, encrypted, for which
// password is asked, and PKCS #8 ("PRIVATE KEY"), SEC 1 ("EC PRIVATE KEY") or
// PKCS #1 ("RSA PRIVATE KEY"), which are not. Kinds of keys are as for
// ParsePublicKey.
func ParsePrivateKey(text []byte, password func() ([]byte, error)) (*Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("private key: no PEM block in it")
	}
	key, err := parsePrivate(block, password)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private key: %T cannot sign", key)
	}
	public, err := newPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{key: signer, public: public}, nil
}

func parsePrivate(block *pem.Block, password func() ([]byte, error)) (any, error) {
	switch block.Type {
	case sigstoreKey, cosignKey:
		pass, err := password()
		if err != nil {
			return nil, err
		}
		der, err := encrypted.Decrypt(block.Bytes, pass)
		if err != nil {
			return nil, ErrPassword
		}
		return x509.ParsePKCS8PrivateKey(der)
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("PEM blocks of type %q are not supported", block.Type)
}

// GenerateKeyPair makes a key pair as `cosign generate-key-pair` does: ECDSA
// on P-256, the private key encrypted with password (which may be empty).
func GenerateKeyPair(password []byte) (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := encrypted.Encrypt(der, password)
	if err != nil {
		return nil, nil, err
	}
	pub, err := newPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: sigstoreKey, Bytes: sealed}), pub.PEM(), nil
}

// Public returns the other half of the key.
func (s *Signer) Public() *PublicKey { return s.public }

// Sign signs message: ECDSA in ASN.1 and RSA in PKCS #1 v1.5, both with SHA-256
// whatever the key's size, Ed25519 plain. The hash of a larger curve's strength
// would be refused by cosign 2.6 and 3.1 unless they are told of it.
func (s *Signer) Sign(message []byte) ([]byte, error) {
	if _, ok := s.key.(ed25519.PrivateKey); ok {
		return s.key.Sign(rand.Reader, message, crypto.Hash(0))
	}
	return s.key.Sign(rand.Reader, sum(crypto.SHA256, message), crypto.SHA256)
}
