package exchange

import (
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
// that was pushed to dest. The same statement is attached once.
func (x *Exchange) AttachProvenance(ctx context.Context, img *storage.Image, dest image.Reference, pushed registry.Descriptor) error {
	predicate, err := x.provenance(img)
	if err != nil {
		return err
	}
	statement, err := json.Marshal(attest.Built([]attest.Subject{{Name: dest.Full(), Digest: attest.Digests(pushed.Digest)}}, predicate))
	if err != nil {
		return err
	}
	note := map[string]string{predicateAnnotation: attest.ProvenanceType}
	_, err = x.client.PushArtifact(ctx, image.Reference{Host: dest.Host, Path: dest.Path}, registry.Artifact{
		ArtifactType: trust.InTotoType, Annotations: note, Subject: &pushed,
		Layers: []registry.ArtifactLayer{{Descriptor: registry.Descriptor{MediaType: trust.InTotoType}, Annotations: note, Data: statement}},
	})
	if err != nil {
		return fmt.Errorf("attach the provenance to %s: %w", dest, err)
	}
	return nil
}
