package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

var (
	ours   = digest.FromString("our manifest")
	index  = digest.FromString("our index")
	theirs = digest.FromString("another manifest")
	ref    = image.Reference{Host: "registry.example", Path: "me/app", Tag: "1"}
)

func newSigner(t *testing.T) *Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	s, err := ParsePrivateKey(encode(t, "PRIVATE KEY", der, err), noPassword)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func simple(t *testing.T, key *Signer, d digest.Digest) *Signature {
	t.Helper()
	payload, err := SimplePayload(ref, d)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	return &Signature{Payload: payload, Sig: sig}
}

// bundled is a bundle around what key signed.
func bundled(t *testing.T, key *Signer, payloadType, statement string) *Signature {
	t.Helper()
	env, err := key.Envelope(payloadType, []byte(statement))
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBundle(env, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &Signature{Bundle: b}
}

func statementOf(t *testing.T, d digest.Digest) string {
	t.Helper()
	b, err := SignStatement(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCheck(t *testing.T) {
	key, other := newSigner(t), newSigner(t)
	tampered := simple(t, key, theirs)
	tampered.Payload = []byte(strings.Replace(string(tampered.Payload), theirs.String(), ours.String(), 1))
	moved := bundled(t, key, InTotoType, statementOf(t, theirs))
	var b map[string]any
	if err := json.Unmarshal(bundled(t, key, InTotoType, statementOf(t, ours)).Bundle, &b); err != nil {
		t.Fatal(err)
	}
	b["dsseEnvelope"].(map[string]any)["signatures"].([]any)[0].(map[string]any)["sig"] = "AAAA"
	badSig, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		sig  *Signature
		err  error  // nil: any
		says string // "": it is good
	}{
		{"simple", simple(t, key, ours), nil, ""},
		{"simple of the index", simple(t, key, index), nil, ""},
		{"bundle", bundled(t, key, InTotoType, statementOf(t, ours)), nil, ""},
		{"bundle of the index", bundled(t, key, InTotoType, statementOf(t, index)), nil, ""},
		{"simple by another key", simple(t, other, ours), ErrOtherKey, "key"},
		{"bundle by another key", bundled(t, other, InTotoType, statementOf(t, ours)), ErrOtherKey, "key"},
		{"simple of another image", simple(t, key, theirs), ErrOtherImage, "image"},
		{"bundle of another image", moved, ErrOtherImage, "image"},
		{"tampered payload", tampered, ErrOtherKey, "key"},
		{"tampered bundle", &Signature{Bundle: badSig}, ErrOtherKey, "key"},
		{"attestation for signature", bundled(t, key, InTotoType, strings.Replace(statementOf(t, ours), SignPredicate, "https://slsa.dev/provenance/v1", 1)), nil, "no signature of an image"},
		{"statement of another type", bundled(t, key, InTotoType, strings.Replace(statementOf(t, ours), "in-toto.io/Statement", "example.com/Statement", 1)), nil, "its type is"},
		{"payload type", bundled(t, key, "application/json", statementOf(t, ours)), nil, "payload type"},
		{"other payload", func() *Signature {
			p := []byte(`{"critical":{"type":"atomic container signature","image":{"docker-manifest-digest":"` + ours.String() + `"}}}`)
			sig, err := key.Sign(p)
			if err != nil {
				t.Fatal(err)
			}
			return &Signature{Payload: p, Sig: sig}
		}(), nil, "its type is"},
		{"no digest", bundled(t, key, InTotoType, `{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+SignPredicate+`","subject":[{"digest":{"sha512":"x"}}]}`), ErrOtherImage, "image"},
		{"nothing", &Signature{}, nil, "envelope"},
		{"no JSON", &Signature{Payload: []byte("x"), Sig: []byte("y")}, nil, "payload"},
		{"no bundle", &Signature{Bundle: []byte("x")}, nil, "bundle"},
	} {
		want := Demand{Source: "--verify-key", Keys: []*PublicKey{newSigner(t).Public(), key.Public()}}
		v, err := want.Check(t.Context(), tt.sig, ref, []digest.Digest{index, ours}, nil)
		switch {
		case tt.says == "":
			if err != nil || v.Key != key.Public().Fingerprint() || v.Digest != ours && v.Digest != index {
				t.Errorf("%s: %+v, %v", tt.name, v, err)
			}
		case err == nil || !strings.Contains(err.Error(), tt.says), tt.err != nil && !errors.Is(err, tt.err):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

// keylessFunc says who signed.
type keylessFunc func() (string, string, error)

func (f keylessFunc) VerifyKeyless(context.Context, *Signature, *Keyless, digest.Digest) (string, string, error) {
	return f()
}

func TestCheckKeyless(t *testing.T) {
	want := Demand{Source: "--verify-identity", Keyless: &Keyless{Identity: "me@example.com", Issuer: "https://issuer.example"}}
	s := simple(t, newSigner(t), ours)
	good := keylessFunc(func() (string, string, error) { return "me@example.com", "https://issuer.example", nil })
	if _, err := want.Check(t.Context(), s, ref, []digest.Digest{ours}, good); err == nil || !strings.Contains(err.Error(), "by a key") {
		t.Errorf("without certificate: %v", err)
	}
	s.Annotations = map[string]string{certificateAnnotation: "PEM"}
	if v, err := want.Check(t.Context(), s, ref, []digest.Digest{ours}, good); err != nil || v.Identity != "me@example.com" {
		t.Errorf("good: %+v, %v", v, err)
	}
	if _, err := want.Check(t.Context(), s, ref, []digest.Digest{theirs}, good); !errors.Is(err, ErrOtherImage) {
		t.Errorf("another image: %v", err)
	}
	bad := keylessFunc(func() (string, string, error) { return "", "", errors.New("no") })
	if _, err := want.Check(t.Context(), s, ref, []digest.Digest{ours}, bad); err == nil {
		t.Error("the verifier's error is lost")
	}
}

func TestDemandNames(t *testing.T) {
	key := newSigner(t)
	want := Demand{Keys: []*PublicKey{key.Public()}, Name: func(signed string, _ image.Reference) bool { return signed == "registry.example/me/app" }}
	if v, err := want.Check(t.Context(), simple(t, key, ours), ref, []digest.Digest{ours}, nil); err != nil || v.Name != "registry.example/me/app" {
		t.Errorf("its name: %+v, %v", v, err)
	}
	if _, err := want.Check(t.Context(), bundled(t, key, InTotoType, statementOf(t, ours)), ref, []digest.Digest{ours}, nil); !errors.Is(err, ErrOtherName) {
		t.Errorf("no name: %v", err)
	}
	want.Name = func(string, image.Reference) bool { return false }
	if _, err := want.Check(t.Context(), simple(t, key, ours), ref, []digest.Digest{ours}, nil); !errors.Is(err, ErrOtherName) {
		t.Errorf("another name: %v", err)
	}
	if _, err := (&Demand{Reject: "never"}).Check(t.Context(), simple(t, key, ours), ref, []digest.Digest{ours}, nil); err == nil || err.Error() != "never" {
		t.Errorf("reject: %v", err)
	}
}

func TestRemembers(t *testing.T) {
	key, other := newSigner(t), newSigner(t)
	digests := []digest.Digest{index, ours}
	byKey := Demand{Keys: []*PublicKey{key.Public()}}
	v := image.Verification{Digest: ours, Key: key.Public().Fingerprint(), Name: "registry.example/me/app"}
	id := Demand{Keyless: &Keyless{IdentityRegexp: regexp.MustCompile(`^me@`), Issuer: "https://issuer.example", TrustedRoot: []byte("{}")}}
	w := image.Verification{Digest: index, Identity: "me@example.com", Issuer: "https://issuer.example", Root: digest.FromString("{}").String()}
	if !byKey.Remembers(&v, ref, digests) || !id.Remembers(&w, ref, digests) {
		t.Error("what was verified is forgotten")
	}
	otherName := byKey
	otherName.Name = func(string, image.Reference) bool { return false }
	otherRoot, otherIssuer, otherIdentity := *id.Keyless, *id.Keyless, *id.Keyless
	otherRoot.TrustedRoot = nil
	otherIssuer.Issuer = "https://other.example"
	otherIdentity.IdentityRegexp = regexp.MustCompile("you")
	for name, bad := range map[string]bool{
		"another key":         (&Demand{Keys: []*PublicKey{other.Public()}}).Remembers(&v, ref, digests),
		"another digest":      byKey.Remembers(&v, ref, []digest.Digest{index}),
		"reject":              (&Demand{Reject: "no", Keys: byKey.Keys}).Remembers(&v, ref, digests),
		"another name":        otherName.Remembers(&v, ref, digests),
		"identity for key":    byKey.Remembers(&w, ref, digests),
		"key for identity":    id.Remembers(&v, ref, digests),
		"another root":        (&Demand{Keyless: &otherRoot}).Remembers(&w, ref, digests),
		"another issuer":      (&Demand{Keyless: &otherIssuer}).Remembers(&w, ref, digests),
		"another identity":    (&Demand{Keyless: &otherIdentity}).Remembers(&w, ref, digests),
		"an empty record":     id.Remembers(&image.Verification{Digest: ours}, ref, digests),
		"a record of no one":  byKey.Remembers(&image.Verification{Digest: ours}, ref, digests),
		"an empty one's root": (&Demand{Keyless: &Keyless{}}).Remembers(&image.Verification{Digest: ours}, ref, digests),
	} {
		if bad {
			t.Errorf("%s is remembered", name)
		}
	}
}
