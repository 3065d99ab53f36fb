package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// The parts of Sigstore's trusted_root.json (sigstore/protobuf-specs,
// sigstore_trustroot.proto) that a policy file can say.
type rootDocument struct {
	MediaType              string          `json:"mediaType"`
	Tlogs                  []rootLog       `json:"tlogs"`
	CertificateAuthorities []rootAuthority `json:"certificateAuthorities"`
}

type rootLog struct {
	BaseURL       string      `json:"baseUrl"`
	HashAlgorithm string      `json:"hashAlgorithm"`
	PublicKey     rootKey     `json:"publicKey"`
	LogID         rootLogName `json:"logId"`
}

type rootKey struct {
	RawBytes   []byte     `json:"rawBytes"`
	KeyDetails string     `json:"keyDetails"`
	ValidFor   rootPeriod `json:"validFor"`
}

type rootLogName struct {
	KeyID []byte `json:"keyId"`
}

type rootAuthority struct {
	CertChain rootChain  `json:"certChain"`
	ValidFor  rootPeriod `json:"validFor"`
}

type rootChain struct {
	Certificates []rootCertificate `json:"certificates"`
}

type rootCertificate struct {
	RawBytes []byte `json:"rawBytes"`
}

type rootPeriod struct {
	Start time.Time `json:"start"`
}

// trustedRoot makes a trusted_root.json of an authority's certificates, in PEM,
// and the keys of transparency logs. Each certificate of those that signed
// itself is a root, the others are intermediates of all of them.
func trustedRoot(authorities []byte, logs [][]byte) ([]byte, error) {
	doc := rootDocument{MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
	var roots, between []*x509.Certificate
	for block, rest := pem.Decode(authorities); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		if c.CheckSignatureFrom(c) == nil {
			roots = append(roots, c)
		} else {
			between = append(between, c)
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("certificate authority: no root certificate in PEM")
	}
	for _, r := range roots {
		a := rootAuthority{ValidFor: rootPeriod{r.NotBefore}}
		for _, c := range append(between[:len(between):len(between)], r) {
			a.CertChain.Certificates = append(a.CertChain.Certificates, rootCertificate{c.Raw})
		}
		doc.CertificateAuthorities = append(doc.CertificateAuthorities, a)
	}
	for _, text := range logs {
		l, err := newRootLog(text)
		if err != nil {
			return nil, fmt.Errorf("transparency log: %w", err)
		}
		doc.Tlogs = append(doc.Tlogs, *l)
	}
	return json.Marshal(doc)
}

func newRootLog(text []byte) (*rootLog, error) {
	k, err := ParsePublicKey(text)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(k.der)
	l := &rootLog{HashAlgorithm: "SHA2_256", LogID: rootLogName{id[:]}, PublicKey: rootKey{RawBytes: k.der, ValidFor: rootPeriod{time.Unix(0, 0).UTC()}}}
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		l.PublicKey.KeyDetails = map[int]string{256: "PKIX_ECDSA_P256_SHA_256", 384: "PKIX_ECDSA_P384_SHA_384", 521: "PKIX_ECDSA_P521_SHA_512"}[key.Params().BitSize]
	case *rsa.PublicKey:
		l.PublicKey.KeyDetails = map[int]string{2048: "PKIX_RSA_PKCS1V15_2048_SHA256", 3072: "PKIX_RSA_PKCS1V15_3072_SHA256", 4096: "PKIX_RSA_PKCS1V15_4096_SHA256"}[key.N.BitLen()]
	case ed25519.PublicKey:
		l.PublicKey.KeyDetails = "PKIX_ED25519"
	}
	if l.PublicKey.KeyDetails == "" {
		return nil, errors.New("a key of this size is no log's")
	}
	return l, nil
}
