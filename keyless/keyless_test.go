package keyless

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/testing/data"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"virga/image"
	"virga/trust"
)

const (
	identity = "ada@example.com"
	issuer   = "https://issuer.example.com"
)

var (
	ref    = image.Reference{Host: "registry.example", Path: "me/app", Tag: "1"}
	ours   = digest.FromString("our manifest")
	theirs = digest.FromString("another manifest")
)

// newSigstore is a Sigstore of its own, a policy file that names its authority and
// log, and the trusted root that is made of that.
func newSigstore(t *testing.T) (_ *ca.VirtualSigstore, trustedRoot []byte, policy string) {
	t.Helper()
	s, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	var authority, log bytes.Buffer
	for _, a := range s.FulcioCertificateAuthorities() {
		f := a.(*root.FulcioCertificateAuthority)
		for _, c := range append(f.Intermediates, f.Root) {
			encode(t, &authority, "CERTIFICATE", c.Raw, nil)
		}
	}
	for _, l := range s.RekorLogs() {
		der, err := x509.MarshalPKIXPublicKey(l.PublicKey)
		encode(t, &log, "PUBLIC KEY", der, err)
	}
	policy = `{"default":[{"type":"sigstoreSigned","fulcio":{"caData":"` + base64.StdEncoding.EncodeToString(authority.Bytes()) + `","oidcIssuer":"` + issuer +
		`","subjectEmail":"` + identity + `"},"rekorPublicKeyData":"` + base64.StdEncoding.EncodeToString(log.Bytes()) + `","signedIdentity":{"type":"exactRepository","dockerRepository":"registry.example/me/app"}}]}`
	p, err := trust.ParsePolicy("test", []byte(policy), nil)
	if err != nil {
		t.Fatal(err)
	}
	demands, err := p.Demands(ref)
	if err != nil || len(demands) != 1 {
		t.Fatal(demands, err)
	}
	return s, demands[0].Keyless.TrustedRoot, policy
}

func encode(t *testing.T, w *bytes.Buffer, kind string, der []byte, err error) {
	t.Helper()
	if err == nil {
		err = pem.Encode(w, &pem.Block{Type: kind, Bytes: der})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// material is the certificate of what s signed, and its entry in the log, with
// the log's promise.
func material(t *testing.T, s *ca.VirtualSigstore, e *ca.TestEntity) (*x509.Certificate, *protorekor.TransparencyLogEntry) {
	t.Helper()
	content, err := e.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := e.TlogEntries()
	if err != nil {
		t.Fatal(err)
	}
	entry := entries[0].TransparencyLogEntry()
	promise, err := s.RekorSignPayload(tlog.RekorPayload{
		Body: entries[0].Body(), IntegratedTime: entry.IntegratedTime, LogIndex: entry.LogIndex, LogID: hex.EncodeToString(entry.LogId.KeyId),
	})
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Kind, APIVersion string }
	if err := json.Unmarshal(entry.CanonicalizedBody, &body); err != nil {
		t.Fatal(err)
	}
	entry.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	entry.KindVersion = &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion}
	return content.Certificate(), entry
}

// attest is what cosign 3 would write for the image d: a bundle with the proof
// that the log has it.
func attest(t *testing.T, s *ca.VirtualSigstore, d digest.Digest, at time.Time, change func(*protobundle.Bundle)) trust.Signature {
	t.Helper()
	statement, err := trust.SignStatement(d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.AttestAtTime(identity, issuer, statement, at, true)
	if err != nil {
		t.Fatal(err)
	}
	cert, entry := material(t, s, e)
	content, err := e.SignatureContent()
	if err != nil {
		t.Fatal(err)
	}
	b := &protobundle.Bundle{
		MediaType: trust.BundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: cert.Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entry},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: statement, PayloadType: trust.InTotoType, Signatures: []*protodsse.Signature{{Sig: content.Signature()}},
		}},
	}
	if change != nil {
		change(b)
	}
	text, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return trust.Signature{Bundle: text}
}

// sign is what cosign 2 would write for the image d: annotations, with the
// log's promise.
func sign(t *testing.T, s *ca.VirtualSigstore, d digest.Digest, at time.Time) trust.Signature {
	t.Helper()
	payload, err := trust.SimplePayload(ref, d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.SignAtTime(identity, issuer, payload, at)
	if err != nil {
		t.Fatal(err)
	}
	cert, entry := material(t, s, e)
	content, err := e.SignatureContent()
	if err != nil {
		t.Fatal(err)
	}
	log, err := json.Marshal(map[string]any{
		"SignedEntryTimestamp": entry.InclusionPromise.SignedEntryTimestamp,
		"Payload": map[string]any{
			"body": entry.CanonicalizedBody, "integratedTime": entry.IntegratedTime, "logIndex": entry.LogIndex, "logID": hex.EncodeToString(entry.LogId.KeyId),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var chain bytes.Buffer
	encode(t, &chain, "CERTIFICATE", cert.Raw, nil)
	return trust.Signature{Payload: payload, Sig: content.Signature(), Annotations: map[string]string{certificateAnnotation: chain.String(), logAnnotation: string(log)}}
}

func TestAnswer(t *testing.T) {
	s, trusted, _ := newSigstore(t)
	_, otherRoot, _ := newSigstore(t)
	now := time.Now().Add(5 * time.Minute)
	without := func(name string, sig trust.Signature) trust.Signature {
		sig.Annotations = map[string]string{certificateAnnotation: sig.Annotations[certificateAnnotation], logAnnotation: sig.Annotations[logAnnotation]}
		delete(sig.Annotations, name)
		return sig
	}
	good, legacy := attest(t, s, ours, now, nil), sign(t, s, ours, now)
	tampered := legacy
	tampered.Payload = bytes.Replace(legacy.Payload, []byte(ours), []byte(theirs), 1)
	moved := legacy
	moved.Payload = sign(t, s, theirs, now).Payload
	otherEntry := without("", legacy)
	otherEntry.Annotations[logAnnotation] = sign(t, s, theirs, now).Annotations[logAnnotation]
	request := trust.KeylessRequest{Image: ours, Identity: identity, Issuer: issuer, TrustedRoot: trusted, WithoutSCT: true}
	for _, tt := range []struct {
		name   string
		sig    trust.Signature
		change func(*trust.KeylessRequest)
		says   string // "": it is good
	}{
		{"bundle", good, nil, ""},
		{"annotations", legacy, nil, ""},
		{"pattern", good, func(r *trust.KeylessRequest) { r.Identity, r.IdentityRegexp = "", `^(?:.*@example\.com)$` }, ""},

		{"bundle, wrong root", good, func(r *trust.KeylessRequest) { r.TrustedRoot = otherRoot }, "log"},
		{"annotations, wrong root", legacy, func(r *trust.KeylessRequest) { r.TrustedRoot = otherRoot }, "log"},
		{"wrong authority alone", good, func(r *trust.KeylessRequest) { r.TrustedRoot = mixed(t, trusted, otherRoot) }, "certificate"},
		{"bundle, expired", attest(t, s, ours, now.Add(time.Hour), nil), nil, "validity"},
		{"annotations, expired", sign(t, s, ours, now.Add(time.Hour)), nil, "validity"},
		{"not yet valid", attest(t, s, ours, now.Add(-time.Hour), nil), nil, "validity"},
		{"other identity", good, func(r *trust.KeylessRequest) { r.Identity = "eve@example.com" }, "eve@example.com"},
		{"other identity by pattern", legacy, func(r *trust.KeylessRequest) { r.Identity, r.IdentityRegexp = "", `^(?:ada)$` }, "ada"},
		{"other issuer", good, func(r *trust.KeylessRequest) { r.Issuer = "https://accounts.example.org" }, "issuer"},
		{"annotations, other issuer", legacy, func(r *trust.KeylessRequest) { r.Issuer = "https://accounts.example.org" }, "issuer"},
		{"no issuer demanded", good, func(r *trust.KeylessRequest) { r.Issuer = "" }, "BUG"},
		{"no identity demanded", good, func(r *trust.KeylessRequest) { r.Identity = "" }, "BUG"},
		{"bundle, no log entry", attest(t, s, ours, now, func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil }), nil, "log"},
		{"annotations, no log entry", without(logAnnotation, legacy), nil, "log"},
		{"entry of another signature", otherEntry, nil, "log"},
		{"no proof of the entry", attest(t, s, ours, now, func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].InclusionProof = nil }), nil, "inclusion proof"},
		{"false promise", attest(t, s, ours, now, func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].InclusionPromise.SignedEntryTimestamp[9] ^= 1
		}), nil, "log"},
		{"time of the entry changed", attest(t, s, ours, now, func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].IntegratedTime++ }), nil, "log"},
		{"tampered payload", attest(t, s, theirs, now, func(b *protobundle.Bundle) {
			env := b.GetDsseEnvelope()
			env.Payload = bytes.Replace(env.Payload, []byte(theirs.Encoded()), []byte(ours.Encoded()), 1)
		}), nil, "payload"},
		{"tampered signature", attest(t, s, ours, now, func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures[0].Sig[9] ^= 1 }), nil, "signature"},
		{"annotations, tampered payload", tampered, nil, "digest"},
		{"annotations, payload of another signature", moved, nil, "digest"},
		{"signature of another image", attest(t, s, theirs, now, nil), nil, "digest"},
		{"no certificate log", good, func(r *trust.KeylessRequest) { r.WithoutSCT = false }, "signed certificate timestamp"},
		{"no certificate", without(certificateAnnotation, legacy), nil, "certificate"},
		{"garbage", trust.Signature{Bundle: []byte("{")}, nil, "bundle"},
		{"garbage in the log's annotation", trust.Signature{Payload: legacy.Payload, Sig: legacy.Sig, Annotations: map[string]string{
			certificateAnnotation: legacy.Annotations[certificateAnnotation], logAnnotation: "{"}}, nil, "log entry"},
		{"no root", good, func(r *trust.KeylessRequest) { r.TrustedRoot = []byte("{}") }, "trusted root"},
	} {
		r := request
		r.Signature = tt.sig
		if tt.change != nil {
			tt.change(&r)
		}
		a := Answer(&r)
		if tt.says == "" {
			if a.Error != "" || a.Identity != identity || a.Issuer != issuer {
				t.Errorf("%s: %+v", tt.name, a)
			}
			continue
		}
		if !strings.Contains(a.Error, tt.says) || a.Identity != "" {
			t.Errorf("%s: %+v, want %q", tt.name, a, tt.says)
		}
		if a.Unchecked != (tt.name == "no root") {
			t.Errorf("%s: unchecked %v", tt.name, a.Unchecked)
		}
	}
}

// mixed is a root with the logs of one and the authorities of another.
func mixed(t *testing.T, logs, authorities []byte) []byte {
	t.Helper()
	var a, b map[string]any
	if err := json.Unmarshal(logs, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(authorities, &b); err != nil {
		t.Fatal(err)
	}
	a["certificateAuthorities"] = b["certificateAuthorities"]
	out, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A bundle of the public Sigstore, with the proof that its certificate is
// logged, which the virtual one does not make.
func TestPublicSigstore(t *testing.T) {
	b := data.Bundle(t, "sigstore.js@2.0.0-provenance.sigstore.json")
	r := trust.KeylessRequest{
		Image:          "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c",
		IdentityRegexp: `^(?:https://github\.com/sigstore/sigstore-js/.*)$`, Issuer: "https://token.actions.githubusercontent.com",
	}
	who, _, err := check(data.TrustedRoot(t, "public-good.json"), b, &r)
	if err != nil || !strings.HasPrefix(who, "https://github.com/sigstore/sigstore-js/") {
		t.Errorf("%q, %v", who, err)
	}
	r.Image = "sha512:" + digest.Digest(strings.Repeat("0", 128))
	if _, _, err := check(data.TrustedRoot(t, "public-good.json"), b, &r); err == nil {
		t.Error("it is good for anything")
	}
}

// Not a test: test/bats/sign.bats signs the image $SIGN_DIGEST with it, and finds
// both kinds of signature, the trusted root and a policy in $SIGN_DIR.
func TestSignForBats(t *testing.T) {
	dir, d := os.Getenv("SIGN_DIR"), digest.Digest(os.Getenv("SIGN_DIGEST"))
	if dir == "" {
		t.Skip("SIGN_DIR is not set")
	}
	s, trusted, policy := newSigstore(t)
	now := time.Now().Add(5 * time.Minute)
	legacy := sign(t, s, d, now)
	legacy.Annotations[trust.SignatureAnnotation] = base64.StdEncoding.EncodeToString(legacy.Sig)
	annotations, err := json.Marshal(legacy.Annotations)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"root.json": trusted, "policy.json": []byte(policy), "bundle": attest(t, s, d, now, nil).Bundle, "payload": legacy.Payload, "annotations": annotations} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
