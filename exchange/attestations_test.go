package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"virga/archive"
	"virga/attest"
	"virga/image"
	"virga/registry"
	"virga/trust"
)

func newSigner(t *testing.T) *trust.Signer {
	t.Helper()
	private, _, err := trust.GenerateKeyPair(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust.ParsePrivateKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func byKeys(keys ...*trust.PublicKey) trust.Demand { return trust.Demand{Source: "test", Keys: keys} }

// statementAbout is a statement of a type about a manifest.
func statementAbout(t *testing.T, d, predicateType string) []byte {
	t.Helper()
	st := attest.Built([]attest.Subject{{Name: "x", Digest: attest.Digests(digest.Digest(d))}}, []byte(`{"n":1}`))
	st.PredicateType = predicateType
	return asJSON(t, st)
}

// document signs a payload and returns the envelope, or the bundle around it.
func document(t *testing.T, key *trust.Signer, payloadType string, payload []byte, bundle bool) []byte {
	t.Helper()
	env, err := key.Envelope(payloadType, payload)
	if err != nil {
		t.Fatal(err)
	}
	if !bundle {
		return asJSON(t, env)
	}
	b, err := trust.NewBundle(env, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// attach puts a document beside a manifest as cosign 2 does, or as cosign 3.
func (s *site) attach(t *testing.T, ref image.Reference, d string, text []byte, bundle bool) {
	t.Helper()
	s.attachWith(t, ref, d, text, bundle, nil)
}

// attachWith gives cosign 2's layer annotations.
func (s *site) attachWith(t *testing.T, ref image.Reference, d string, text []byte, bundle bool, annotations map[string]string) {
	t.Helper()
	ref.Tag = strings.Replace(d, ":", "-", 1) + ".att"
	a := registry.Artifact{Layers: []registry.ArtifactLayer{{Descriptor: registry.Descriptor{MediaType: attestationKind.mediaType}, Annotations: annotations, Data: text}}}
	if bundle {
		ref.Tag = ""
		a.ArtifactType, a.Layers[0].MediaType = trust.BundleType, trust.BundleType
		a.Subject = &registry.Descriptor{Digest: digest.Digest(d), Size: 1, MediaType: "application/vnd.oci.image.manifest.v1+json"}
	}
	if _, err := s.x.client.PushArtifact(t.Context(), ref, a); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyAttestations(t *testing.T) {
	key, other := newSigner(t), newSigner(t)
	s := newSite(t)
	platform := registry.Want{Platform: image.Host()}
	for _, tc := range []struct {
		name     string
		document func(d string, bundle bool) []byte
		typ      string
		wrong    string // "": it counts
	}{
		{"good", func(d string, b bool) []byte {
			return document(t, key, trust.InTotoType, statementAbout(t, d, attest.ProvenanceType), b)
		}, "", ""},
		{"of the type asked for", func(d string, b bool) []byte {
			return document(t, key, trust.InTotoType, statementAbout(t, d, attest.ProvenanceType), b)
		}, attest.ProvenanceType, ""},
		{"of another type", func(d string, b bool) []byte {
			return document(t, key, trust.InTotoType, statementAbout(t, d, "https://spdx.dev/Document"), b)
		}, attest.ProvenanceType, "its predicate is https://spdx.dev/Document"},
		{"by another key", func(d string, b bool) []byte {
			return document(t, other, trust.InTotoType, statementAbout(t, d, attest.ProvenanceType), b)
		}, "", "not by the key asked for"},
		{"of another image", func(d string, b bool) []byte {
			return document(t, key, trust.InTotoType, statementAbout(t, "sha256:"+strings.Repeat("0", 64), attest.ProvenanceType), b)
		}, "", "about something else"},
		{"an image signature", func(d string, b bool) []byte {
			return document(t, key, trust.InTotoType, statementAbout(t, d, trust.SignPredicate), b)
		}, "", "its predicate is " + trust.SignPredicate},
		{"another payload", func(d string, b bool) []byte {
			return document(t, key, "text/plain", statementAbout(t, d, attest.ProvenanceType), b)
		}, "", `its payload is "text/plain", no statement`},
		{"no statement", func(d string, b bool) []byte {
			return document(t, key, trust.InTotoType, []byte(`{"_type":"x"}`), b)
		}, "", `statement: its type is "x"`},
		{"tampered", func(d string, b bool) []byte {
			text := document(t, key, trust.InTotoType, statementAbout(t, d, attest.ProvenanceType), b)
			var doc map[string]any
			if err := json.Unmarshal(text, &doc); err != nil {
				t.Fatal(err)
			}
			env := doc
			if b {
				env = doc["dsseEnvelope"].(map[string]any)
			}
			env["payload"] = statementAbout(t, d, "https://example.org/other") // base64 in JSON
			return asJSON(t, doc)
		}, "", "not by the key asked for"},
		{"no envelope", func(string, bool) []byte { return []byte("{}") }, "", "it has no payloadType|its media type"},
	} {
		for _, bundle := range []bool{false, true} {
			name := map[bool]string{false: "tag", true: "bundle"}[bundle]
			t.Run(tc.name+" "+name, func(t *testing.T) {
				ref, d := s.publish(t, strings.ReplaceAll(tc.name, " ", "-")+"/"+name, tarLayer(t, "a", tc.name+name))
				s.attach(t, ref, d, tc.document(d, bundle), bundle)
				want := AttestationDemand{Signer: byKeys(other.Public(), key.Public()), Type: tc.typ}
				if strings.HasPrefix(tc.wrong, "not by") {
					want.Signer.Keys = []*trust.PublicKey{key.Public()}
				}
				wrong, inBundle, two := strings.Cut(tc.wrong, "|")
				if two && bundle {
					wrong = inBundle
				}
				found, err := s.x.VerifyAttestations(t.Context(), ref, platform, want)
				if wrong != "" {
					if err == nil || !strings.Contains(err.Error(), wrong) || found != nil {
						t.Fatalf("%v, error %v, want %q", found, err, wrong)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(found) != 1 || found[0].Digest.String() != d || found[0].Signer != "key "+key.Public().Fingerprint() {
					t.Errorf("found %+v", found)
				}
			})
		}
	}
}

// What no key signed is nothing, and one bad attestation does not hide a good
// one.
func TestVerifyAttestationsAmongOthers(t *testing.T) {
	key := newSigner(t)
	s := newSite(t)
	ref, d := s.publish(t, "app", tarLayer(t, "a", "1"))
	want := AttestationDemand{Signer: byKeys(key.Public())}
	img, err := s.x.Base(t.Context(), ref, image.Host())
	if err != nil {
		t.Fatal(err)
	}
	if img.Provenance, err = s.store.AddBlob(t.Context(), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	manifest := registry.Descriptor{Digest: digest.Digest(d), Size: 1, MediaType: "application/vnd.oci.image.manifest.v1+json"}
	if err := s.x.AttachProvenance(t.Context(), img, ref, manifest, nil, ""); err != nil {
		t.Fatal(err)
	}
	var none *NoAttestationError
	if _, err := s.x.VerifyAttestations(t.Context(), ref, registry.Want{Platform: image.Host()}, want); !errors.As(err, &none) || len(none.Causes) > 0 {
		t.Errorf("unsigned: %v", err)
	}
	signed := newSigner(t)
	for range 2 { // the second time all is there
		if err := s.x.AttachProvenance(t.Context(), img, ref, manifest, signed, SignBoth); err != nil {
			t.Fatal(err)
		}
		found, err := s.x.VerifyAttestations(t.Context(), ref, registry.Want{Platform: image.Host()}, AttestationDemand{Signer: byKeys(signed.Public()), Type: attest.ProvenanceType})
		if err != nil || len(found) != 2 {
			t.Fatalf("signed: %d found, error %v", len(found), err)
		}
	}
	s.attach(t, ref, d, []byte("junk"), true)
	s.attach(t, ref, d, document(t, key, trust.InTotoType, statementAbout(t, d, "t:1"), true), true)
	s.attach(t, ref, d, document(t, key, trust.InTotoType, statementAbout(t, d, "t:2"), false), false)
	found, err := s.x.VerifyAttestations(t.Context(), ref, registry.Want{Platform: image.Host()}, want)
	if err != nil || len(found) != 2 {
		t.Fatalf("%d found, error %v", len(found), err)
	}
}

// An attestation in a file counts for the file, for its images however they are
// packed, and for nothing else.
func TestVerifyFileAttestation(t *testing.T) {
	key := newSigner(t)
	s := newSite(t)
	ref, _ := s.publish(t, "app", tarLayer(t, "a", "1"))
	ref2, _ := s.publish(t, "app2", tarLayer(t, "a", "2"))
	saved := func(docker bool, refs ...image.Reference) (string, []Named) {
		var named []Named
		for _, r := range refs {
			img, err := s.x.Base(t.Context(), r, image.Host())
			if err != nil {
				t.Fatal(err)
			}
			named = append(named, Named{Image: img, Names: []image.Reference{r}})
		}
		path := filepath.Join(t.TempDir(), "f.tar")
		if err := SaveFile(path, func(f *os.File) error { return s.x.Save(t.Context(), f, named, docker, nil) }); err != nil {
			t.Fatal(err)
		}
		return path, named
	}
	all := archive.Want{All: true}
	path, named := saved(true, ref)
	st, err := s.x.Attest(t.Context(), path, AttestOptions{Want: all})
	if err != nil {
		t.Fatal(err)
	}
	text := document(t, key, trust.InTotoType, asJSON(t, st), false)
	want := AttestationDemand{Signer: byKeys(key.Public())}
	check := func(path, wrong string, want AttestationDemand) {
		t.Helper()
		_, err := s.x.VerifyFileAttestation(t.Context(), text, path, all, want)
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: error %v, want %q", path, err, wrong)
		}
	}
	check(path, "", want)
	oci, _ := saved(false, ref)
	check(oci, "", want)
	if _, err := s.x.VerifyStoredAttestation(t.Context(), text, named, want); err != nil {
		t.Error(err)
	}
	other, _ := saved(false, ref2)
	check(other, "image 1 of it is no subject", want)
	both, _ := saved(false, ref, ref2)
	check(both, "image 2 of it is no subject", want)
	check(path, "not by the key asked for", AttestationDemand{Signer: byKeys(newSigner(t).Public())})
	check(path, "its predicate is", AttestationDemand{Signer: want.Signer, Type: attest.ProvenanceType})
	// The layers are read: a statement about the configuration is not enough.
	config := entry{name: "c.json", body: configOf(t, "one")}
	good := writeTar(t, 0, config, entry{name: "1", body: []byte("one")}, manifestOf(t, archive.Entry{Config: "c.json", Layers: []string{"1"}}))
	bad := writeTar(t, 0, config, entry{name: "1", body: []byte("two")}, manifestOf(t, archive.Entry{Config: "c.json", Layers: []string{"1"}}))
	if st, err = s.x.Attest(t.Context(), good, AttestOptions{Want: all}); err != nil {
		t.Fatal(err)
	}
	text = document(t, key, trust.InTotoType, asJSON(t, st), true)
	check(good, "", want)
	check(bad, "diff ID is", want)
}

// identities stands for virga-keyless: it finds out of whom a signature is, and
// for which image, by what the test says.
type identities struct {
	of    string
	about digest.Digest
	err   error
}

func (v identities) VerifyKeyless(_ context.Context, _ *trust.Signature, want *trust.Keyless, d digest.Digest) (identity, issuer string, err error) {
	switch {
	case v.err != nil:
		return "", "", v.err
	case d != v.about || want.Identity != v.of:
		return "", "", errors.New("not good")
	}
	return v.of, want.Issuer, nil
}

func TestVerifyKeylessAttestation(t *testing.T) {
	s := newSite(t)
	ref, d := s.publish(t, "a:1", tarLayer(t, "f", "x"))
	text := document(t, newSigner(t), trust.InTotoType, statementAbout(t, d, attest.ProvenanceType), false)
	s.attachWith(t, ref, d, text, false, map[string]string{"dev.sigstore.cosign/certificate": "of somebody"})
	unchecked := &trust.UncheckedError{Err: errors.New("no network")}
	for name, tc := range map[string]struct {
		v    identities
		want string // in the error
	}{
		"good":           {identities{of: "me@example.org", about: digest.Digest(d)}, ""},
		"somebody else":  {identities{of: "you@example.org", about: digest.Digest(d)}, "not good"},
		"another image":  {identities{of: "me@example.org", about: digest.FromString("other")}, "not good"},
		"cannot be seen": {identities{err: unchecked}, "no network"},
	} {
		k, err := trust.NewKeyless("me@example.org", "", "https://issuer.example.org")
		if err != nil {
			t.Fatal(err)
		}
		want := AttestationDemand{Signer: trust.Demand{Source: "test", Keyless: k}, Keyless: tc.v}
		found, err := s.x.VerifyAttestations(t.Context(), ref, s.want(), want)
		switch {
		case tc.want == "" && (err != nil || len(found) != 1 || found[0].Signer != "me@example.org (https://issuer.example.org)"):
			t.Errorf("%s: %+v, %v", name, found, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		case tc.v.err != nil && !errors.Is(err, unchecked):
			t.Errorf("%s: %v is an opinion about the attestation", name, err)
		}
	}
}
