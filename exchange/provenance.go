package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"virga/attest"
	"virga/image"
	"virga/registry"
	"virga/storage"
	"virga/trust"
)

// predicateAnnotation says what a statement beside an image is about, as
// BuildKit's do.
const predicateAnnotation = "in-toto.io/predicate-type"

// AttestBuilt makes the statement how an image in storage was built. Its
// subjects are the image's names, with the digest of the manifest that Push
// sends.
func (x *Exchange) AttestBuilt(ctx context.Context, n Named) (*attest.Statement, error) {
	predicate, err := x.provenance(n.Image)
	if err != nil {
		return nil, err
	}
	src, err := x.source(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("attest %s: %w", n.Image.Ref, err)
	}
	var subjects []attest.Subject
	for _, name := range n.Names {
		subjects = append(subjects, attest.Subject{Name: name.Full(), Digest: attest.Digests(digest.FromBytes(src.Manifest))})
	}
	return attest.Built(subjects, predicate), nil
}

// provenance is the record that was kept with an image.
func (x *Exchange) provenance(img *storage.Image) ([]byte, error) {
	if img.Provenance == "" {
		return nil, &hintedError{
			what: fmt.Sprintf("image %s: nothing is kept of how it was built", img.Ref),
			hint: "virga build --attest keeps it", is: storage.ErrNotFound,
		}
	}
	return x.store.ReadBlob(img.Provenance)
}

// AttachProvenance lets the statement how img was built refer to the manifest
// that was pushed to dest. With a key it is signed, and lies where the cosign of
// that format looks for attestations; without, it is a note. The same statement
// is attached once.
func (x *Exchange) AttachProvenance(ctx context.Context, img *storage.Image, dest image.Reference, pushed registry.Descriptor, key *trust.Signer, format SignFormat) error {
	predicate, err := x.provenance(img)
	if err != nil {
		return err
	}
	statement, err := json.Marshal(attest.Built([]attest.Subject{{Name: dest.Full(), Digest: attest.Digests(pushed.Digest)}}, predicate))
	if err != nil {
		return err
	}
	repo := image.Reference{Host: dest.Host, Path: dest.Path}
	if key == nil {
		err = x.attachNote(ctx, repo, pushed, statement)
	} else {
		err = x.attachSigned(ctx, repo, pushed, statement, key, format)
	}
	if err != nil {
		return fmt.Errorf("attach the provenance to %s: %w", dest, err)
	}
	return nil
}

// attachNote attaches a statement that nobody signed, as BuildKit names such.
func (x *Exchange) attachNote(ctx context.Context, repo image.Reference, subject registry.Descriptor, statement []byte) error {
	note := map[string]string{predicateAnnotation: attest.ProvenanceType}
	_, err := x.client.PushArtifact(ctx, repo, registry.Artifact{
		ArtifactType: trust.InTotoType, Annotations: note, Subject: &subject,
		Layers: []registry.ArtifactLayer{{Descriptor: registry.Descriptor{MediaType: trust.InTotoType}, Annotations: note, Data: statement}},
	})
	return err
}

// attachSigned attaches a signed statement in each place of the format in which
// the key's own is not there yet.
func (x *Exchange) attachSigned(ctx context.Context, repo image.Reference, subject registry.Descriptor, statement []byte, key *trust.Signer, format SignFormat) error {
	have, err := x.attached(ctx, repo, subject.Digest, statement, key.Public())
	if err != nil {
		return err
	}
	env, err := key.Envelope(trust.InTotoType, statement)
	if err != nil {
		return err
	}
	if format != SignBundle && !have[SignSimple] {
		if err := x.attachTagged(ctx, repo, subject.Digest, env); err != nil {
			return err
		}
	}
	if format == SignSimple || have[SignBundle] {
		return nil
	}
	bundle, err := trust.NewBundle(env, key.Public())
	if err != nil {
		return err
	}
	_, err = x.client.PushArtifact(ctx, repo, BundleArtifact(bundle, attest.ProvenanceType, subject))
	return err
}

// attached tells in which formats the statement is attached already, signed by
// key.
func (x *Exchange) attached(ctx context.Context, repo image.Reference, d digest.Digest, statement []byte, key *trust.PublicKey) (map[SignFormat]bool, error) {
	by := trust.Demand{Keys: []*trust.PublicKey{key}}
	return x.formats(ctx, repo, d, &attestationKind, func(f foundDocument) bool {
		sig, err := x.fetchDocument(ctx, repo, f, MaxAttestation)
		if err != nil {
			return false
		}
		_, doc, err := by.Signed(ctx, sig, d, nil)
		return err == nil && bytes.Equal(doc.Body, statement)
	})
}

// attachTagged adds an envelope to those under cosign 2's tag.
func (x *Exchange) attachTagged(ctx context.Context, repo image.Reference, d digest.Digest, env *trust.Envelope) error {
	text, err := json.Marshal(env)
	if err != nil {
		return err
	}
	return x.addTagged(ctx, attestationKind.tag(repo, d), registry.ArtifactLayer{
		Descriptor: registry.Descriptor{MediaType: attestationKind.mediaType}, Data: text,
		Annotations: map[string]string{trust.SignatureAnnotation: "", "predicateType": attest.ProvenanceType},
	})
}
