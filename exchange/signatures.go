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

// maxSignatures bounds how many signatures of one manifest are looked at.
const maxSignatures = 256

// foundSignature is a signature beside an image that is not fetched yet.
type foundSignature struct {
	blob        registry.Descriptor
	annotations map[string]string    // of cosign 2's
	manifest    *registry.Descriptor // that holds the bundle, of cosign 3's
}

func (f *foundSignature) format() SignFormat {
	if f.manifest != nil {
		return SignBundle
	}
	return SignSimple
}

// signatures lists the signatures that lie beside the manifest d in the
// repository of ref, newest first in each of the two places.
func (x *Exchange) signatures(ctx context.Context, ref image.Reference, d digest.Digest) ([]foundSignature, error) {
	var out []foundSignature
	tagged, err := x.client.Artifact(ctx, signatureTag(ref, d))
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return nil, fmt.Errorf("look for signatures: %w", err)
	}
	if err == nil {
		for _, l := range slices.Backward(tagged.Layers) {
			if l.MediaType == trust.SimpleSigningType {
				out = append(out, foundSignature{blob: l.Descriptor, annotations: l.Annotations})
			}
		}
	}
	list, err := x.client.Referrers(ctx, ref, d, "")
	if err != nil {
		return nil, fmt.Errorf("look for signatures: %w", err)
	}
	for _, r := range slices.Backward(list) {
		if strings.HasPrefix(r.ArtifactType, trust.BundlePrefix) {
			out = append(out, foundSignature{manifest: &r.Descriptor})
		}
	}
	if len(out) > maxSignatures {
		return nil, fmt.Errorf("look for signatures: %s has %d signatures, not more than %d are looked at", ref, len(out), maxSignatures)
	}
	return out, nil
}

// signatureTag is where cosign 2 keeps the signatures of a manifest.
func signatureTag(ref image.Reference, d digest.Digest) image.Reference {
	return image.Reference{Host: ref.Host, Path: ref.Path, Tag: d.Algorithm().String() + "-" + d.Encoded() + ".sig"}
}

// fetchSignature fetches what signatures found.
func (x *Exchange) fetchSignature(ctx context.Context, ref image.Reference, f foundSignature) (*trust.Signature, error) {
	s := &trust.Signature{Annotations: f.annotations}
	if f.manifest != nil {
		a, err := x.client.Artifact(ctx, image.Reference{Host: ref.Host, Path: ref.Path, Digest: f.manifest.Digest})
		if err != nil {
			return nil, err
		}
		if len(a.Layers) != 1 || !strings.HasPrefix(a.Layers[0].MediaType, trust.BundlePrefix) {
			return nil, fmt.Errorf("signature %s: it does not hold one bundle", f.manifest.Digest)
		}
		f.blob = a.Layers[0].Descriptor
	} else {
		var err error
		if s.Sig, err = base64.StdEncoding.DecodeString(f.annotations[trust.SignatureAnnotation]); err != nil || len(s.Sig) == 0 {
			return nil, fmt.Errorf("signature %s: its annotation is not base64", f.blob.Digest)
		}
	}
	if f.blob.Size > trust.MaxDocument {
		return nil, fmt.Errorf("signature %s: it is larger than %d MiB", f.blob.Digest, trust.MaxDocument>>20)
	}
	body, err := x.client.SmallBlob(ctx, ref, f.blob)
	if f.manifest != nil {
		s.Bundle = body
	} else {
		s.Payload = body
	}
	return s, err
}
