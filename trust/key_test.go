package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

func noPassword() ([]byte, error) { return nil, errors.New("a password was asked for") }

func encode(t *testing.T, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// keys are private keys of every kind, in every form that is read.
func keys(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	pkcs8 := func(name string, key any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		out[name] = encode(t, "PRIVATE KEY", der, err)
	}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		pkcs8("PKCS #8 "+c.Params().Name, key, err)
		der, err := x509.MarshalECPrivateKey(key)
		out["SEC 1 "+c.Params().Name] = encode(t, "EC PRIVATE KEY", der, err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	pkcs8("PKCS #8 Ed25519", ed, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	pkcs8("PKCS #8 RSA", r, err)
	out["PKCS #1 RSA"] = encode(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r), nil)
	return out
}

func TestSignAndVerify(t *testing.T) {
	message := []byte("the message")
	all := keys(t)
	_, text, err := GenerateKeyPair(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range all {
		t.Run(name, func(t *testing.T) {
			s, err := ParsePrivateKey(text, noPassword)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := s.Sign(message)
			if err != nil {
				t.Fatal(err)
			}
			public, err := ParsePublicKey(s.Public().PEM())
			if err != nil {
				t.Fatal(err)
			}
			if public.Fingerprint() != s.Public().Fingerprint() {
				t.Error("the public key changed on its way through PEM")
			}
			if err := public.Verify(message, sig); err != nil {
				t.Errorf("own signature: %v", err)
			}
			if err := public.Verify([]byte("the massage"), sig); !errors.Is(err, ErrSignature) {
				t.Errorf("other message: %v", err)
			}
			for _, bad := range [][]byte{nil, {}, sig[:len(sig)-1], append(bytes.Clone(sig), 0), flip(sig, len(sig)/2)} {
				if err := public.Verify(message, bad); !errors.Is(err, ErrSignature) {
					t.Errorf("damaged signature %x: %v", bad, err)
				}
			}
			if other.Verify(message, sig) == nil {
				t.Error("the signature is another key's as well")
			}
		})
	}
}

// Others sign with the hash of the curve's strength, and prehash Ed25519.
func TestVerifyOlderAndNewer(t *testing.T) {
	message := []byte("the message")
	all := keys(t)
	for _, tt := range []struct {
		name string
		opts crypto.SignerOpts
	}{
		{"PKCS #8 P-384", crypto.SHA384},
		{"PKCS #8 P-521", crypto.SHA512},
		{"PKCS #8 Ed25519", &ed25519.Options{Hash: crypto.SHA512}},
	} {
		s, err := ParsePrivateKey(all[tt.name], noPassword)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.key.Sign(rand.Reader, sum(tt.opts.HashFunc(), message), tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Public().Verify(message, sig); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func TestGenerateKeyPair(t *testing.T) {
	for _, password := range []string{"", "geheim"} {
		private, public, err := GenerateKeyPair([]byte(password))
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParsePrivateKey(private, func() ([]byte, error) { return []byte(password), nil })
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Public().PEM(), public) {
			t.Error("the halves do not belong together")
		}
		if _, err := ParsePrivateKey(private, func() ([]byte, error) { return []byte("wrong"), nil }); !errors.Is(err, ErrPassword) {
			t.Errorf("wrong password: %v", err)
		}
		if !bytes.HasPrefix(private, []byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")) {
			t.Errorf("not in cosign's form:\n%s", private)
		}
	}
}

func TestBadKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallPublic, err := x509.MarshalPKIXPublicKey(small.Public())
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224Private, err := x509.MarshalECPrivateKey(p224)
	for _, tt := range []struct {
		name, says string
		public     bool
		text       []byte
	}{
		{"empty", "no PEM block", false, nil},
		{"empty public", "no PEM block", true, nil},
		{"no PEM", "no PEM block", true, []byte("ssh-ed25519 AAAA")},
		{"private for public", `type "EC PRIVATE KEY"`, true, keys(t)["SEC 1 P-256"]},
		{"garbage inside", "private key: asn1", false, encode(t, "PRIVATE KEY", []byte("x"), nil)},
		{"garbage encrypted", "password is wrong", false, encode(t, cosignKey, []byte("{}"), nil)},
		{"unknown type", `"OPENSSH PRIVATE KEY" are not supported`, false, encode(t, "OPENSSH PRIVATE KEY", []byte("x"), nil)},
		{"short RSA", "1024 bits", true, encode(t, "PUBLIC KEY", smallPublic, nil)},
		{"curve", "P-224", false, encode(t, "EC PRIVATE KEY", p224Private, err)},
	} {
		var err error
		if tt.public {
			_, err = ParsePublicKey(tt.text)
		} else {
			_, err = ParsePrivateKey(tt.text, func() ([]byte, error) { return nil, nil })
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

func TestEnvelope(t *testing.T) {
	// The example of the specification's protocol.md.
	if got := string(PAE("http://example.com/HelloWorld", []byte("hello world"))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Errorf("PAE is %q", got)
	}
	s, err := ParsePrivateKey(keys(t)["PKCS #8 P-256"], noPassword)
	if err != nil {
		t.Fatal(err)
	}
	env, err := s.Envelope(InTotoType, []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := env.Verify(s.Public()); err != nil || string(got) != `{"a":1}` {
		t.Errorf("verified %q, %v", got, err)
	}
	other := *env
	other.PayloadType = "text/plain"
	if _, err := other.Verify(s.Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("other payload type: %v", err)
	}
	text, err := NewBundle(env, s.Public())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBundle(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Envelope.Verify(s.Public()); err != nil || b.Keyless() {
		t.Errorf("bundle: %v, keyless %v", err, b.Keyless())
	}
	if !bytes.Contains(text, []byte(`"hint":"`+s.Public().Hint()+`"`)) {
		t.Errorf("bundle names no key: %s", text)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"mediaType":"` + BundleType + `"}`, `{"mediaType":"` + BundleType + `","dsseEnvelope":{"payloadType":"x","payload":""}}`,
		`{"mediaType":"x","dsseEnvelope":{"payloadType":"x","payload":"","signatures":[{"sig":""}]}}`} {
		if _, err := ParseBundle([]byte(bad)); err == nil {
			t.Errorf("bundle %s was read", bad)
		}
	}
	for _, bad := range []string{``, `{}`, `{"payloadType":"x","payload":"!","signatures":[{"sig":""}]}`, `{"payload":"","signatures":[{"sig":""}]}`} {
		if _, err := ParseEnvelope([]byte(bad)); err == nil {
			t.Errorf("envelope %s was read", bad)
		}
	}
}
