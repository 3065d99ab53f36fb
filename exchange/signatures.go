package exchange

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"virga/image"
	"virga/registry"
	"virga/trust"
)

// maxDocuments bounds how many signed documents of a kind and a manifest are
// looked at.
const maxDocuments = 256

// documentKind is a kind of signed document that lies beside an image.
type documentKind struct {
	name      string // for errors
	suffix    string // of cosign 2's tag
	mediaType string // of its layers under that tag
}

var (
	signatureKind   = documentKind{"signature", ".sig", trust.SimpleSigningType}
	attestationKind = documentKind{"attestation", ".att", "application/vnd.dsse.envelope.v1+json"}
)

// tag is where cosign 2 keeps the documents of a manifest.
func (k *documentKind) tag(ref image.Reference, d digest.Digest) image.Reference {
	return image.Reference{Host: ref.Host, Path: ref.Path, Tag: d.Algorithm().String() + "-" + d.Encoded() + k.suffix}
}

// foundDocument is a document that is not fetched yet: a blob under cosign 2's
// tag, or the bundle in one of cosign 3's manifests.
type foundDocument struct {
	blob        registry.Descriptor
	annotations map[string]string // of the blob
	manifest    digest.Digest     // "" under the tag
}

func (f *foundDocument) format() SignFormat {
	if f.manifest != "" {
		return SignBundle
	}
	return SignSimple
}

// documents lists what lies beside the manifest d in the repository of ref,
// newest first in each of the two places. Bundles are of any kind.
func (x *Exchange) documents(ctx context.Context, ref image.Reference, d digest.Digest, kind *documentKind) ([]foundDocument, error) {
	fail := func(err error) ([]foundDocument, error) { return nil, fmt.Errorf("look for %ss: %w", kind.name, err) }
	var out []foundDocument
	tagged, err := x.client.Artifact(ctx, kind.tag(ref, d))
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return fail(err)
	}
	if err == nil {
		for _, l := range slices.Backward(tagged.Layers) {
			if l.MediaType == kind.mediaType {
				out = append(out, foundDocument{blob: l.Descriptor, annotations: l.Annotations})
			}
		}
	}
	list, err := x.client.Referrers(ctx, ref, d, "")
	if err != nil {
		return fail(err)
	}
	for _, r := range slices.Backward(list) {
		if strings.HasPrefix(r.ArtifactType, trust.BundlePrefix) {
			out = append(out, foundDocument{manifest: r.Digest})
		}
	}
	if len(out) > maxDocuments {
		return fail(fmt.Errorf("%s has %d, not more than %d are looked at", ref, len(out), maxDocuments))
	}
	return out, nil
}

// fetchDocument fetches a document of at most limit bytes.
func (x *Exchange) fetchDocument(ctx context.Context, ref image.Reference, f foundDocument, limit int64) (*trust.Signature, error) {
	if f.manifest != "" {
		a, err := x.client.Artifact(ctx, image.Reference{Host: ref.Host, Path: ref.Path, Digest: f.manifest})
		if err != nil {
			return nil, err
		}
		if len(a.Layers) != 1 || !strings.HasPrefix(a.Layers[0].MediaType, trust.BundlePrefix) {
			return nil, fmt.Errorf("%s does not hold one bundle", f.manifest)
		}
		f.blob = a.Layers[0].Descriptor
	}
	if f.blob.Size > limit {
		return nil, fmt.Errorf("%s is larger than %d MiB", f.blob.Digest, limit>>20)
	}
	body, err := x.client.SmallBlob(ctx, ref, f.blob)
	if f.manifest != "" {
		return &trust.Signature{Bundle: body}, err
	}
	return &trust.Signature{Payload: body, Annotations: f.annotations}, err
}

// fetchSignature fetches the signature of an image.
func (x *Exchange) fetchSignature(ctx context.Context, ref image.Reference, f foundDocument) (*trust.Signature, error) {
	var sig []byte
	if f.manifest == "" {
		var err error
		if sig, err = base64.StdEncoding.DecodeString(f.annotations[trust.SignatureAnnotation]); err != nil || len(sig) == 0 {
			return nil, fmt.Errorf("signature %s: its annotation is not base64", f.blob.Digest)
		}
	}
	s, err := x.fetchDocument(ctx, ref, f, trust.MaxDocument)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	s.Sig = sig
	return s, nil
}

// formats tells in which formats a document lies beside the manifest d that is
// ours. Whatever is wrong with others does not matter.
func (x *Exchange) formats(ctx context.Context, ref image.Reference, d digest.Digest, kind *documentKind, ours func(foundDocument) bool) (map[SignFormat]bool, error) {
	found, err := x.documents(ctx, ref, d, kind)
	have := map[SignFormat]bool{}
	for _, f := range found {
		if ours(f) {
			have[f.format()] = true
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return have, err
}
