package exchange

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
	"virga/registry"
	"virga/trust"
)

// SignFormat says where signatures are written.
type SignFormat string

// The formats of signatures.
const (
	SignSimple SignFormat = "simple" // cosign 2: under a tag made of the digest
	SignBundle SignFormat = "bundle" // cosign 3: a Sigstore bundle that refers to the image
	SignBoth   SignFormat = "both"
)

// Sign signs what ref names in its registry, an index or an image, and returns
// its digest. Signatures that are there stay; where the key's own is among
// them, none is added.
func (x *Exchange) Sign(ctx context.Context, ref image.Reference, key *trust.Signer, format SignFormat) (digest.Digest, error) {
	_, desc, err := x.client.Manifest(ctx, ref)
	if err != nil {
		return "", err
	}
	have, err := x.signedBy(ctx, ref, desc.Digest, key.Public())
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", ref, err)
	}
	if format != SignBundle && !have[SignSimple] {
		if err := x.signSimple(ctx, ref, desc.Digest, key); err != nil {
			return "", fmt.Errorf("sign %s: %w", ref, err)
		}
	}
	if format != SignSimple && !have[SignBundle] {
		if err := x.signBundle(ctx, ref, desc, key); err != nil {
			return "", fmt.Errorf("sign %s: %w", ref, err)
		}
	}
	return desc.Digest, nil
}

// signedBy tells in which formats a manifest is signed with a key.
func (x *Exchange) signedBy(ctx context.Context, ref image.Reference, d digest.Digest, key *trust.PublicKey) (map[SignFormat]bool, error) {
	return x.formats(ctx, ref, d, &signatureKind, func(f foundDocument) bool {
		s, err := x.fetchSignature(ctx, ref, f)
		return err == nil && s.By(key, d)
	})
}

// signSimple adds a signature to those under cosign 2's tag.
func (x *Exchange) signSimple(ctx context.Context, ref image.Reference, d digest.Digest, key *trust.Signer) error {
	payload, err := trust.SimplePayload(ref, d)
	if err != nil {
		return err
	}
	sig, err := key.Sign(payload)
	if err != nil {
		return err
	}
	return x.addTagged(ctx, signatureKind.tag(ref, d), registry.ArtifactLayer{
		Descriptor:  registry.Descriptor{MediaType: trust.SimpleSigningType},
		Annotations: map[string]string{trust.SignatureAnnotation: base64.StdEncoding.EncodeToString(sig)},
		Data:        payload,
	})
}

// addTagged adds a layer to the artifact under a tag, as cosign 2 keeps
// signatures and attestations. The protocol has no lock: whoever writes at the
// same moment may take it out again, so it is looked for once more.
func (x *Exchange) addTagged(ctx context.Context, tag image.Reference, ours registry.ArtifactLayer) error {
	same := func(l registry.ArtifactLayer) bool {
		return l.Digest == digest.FromBytes(ours.Data) && l.Annotations[trust.SignatureAnnotation] == ours.Annotations[trust.SignatureAnnotation]
	}
	for range 3 {
		have, err := x.client.Artifact(ctx, tag)
		if errors.Is(err, registry.ErrNotFound) {
			have, err = &registry.Artifact{}, nil
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(have.Layers, same) {
			return nil
		}
		a := registry.Artifact{Layers: append(have.Layers, ours), Annotations: have.Annotations, ConfigType: ociv1.MediaTypeImageConfig}
		if a.Config, err = taggedConfig(a.Layers); err != nil {
			return err
		}
		if _, err := x.client.PushArtifact(ctx, tag, a); err != nil {
			return err
		}
	}
	return fmt.Errorf("somebody else writes %s at the same time", tag)
}

// taggedConfig is the configuration of an image of no platform, which a manifest of
// signatures is to cosign 2.
func taggedConfig(layers []registry.ArtifactLayer) ([]byte, error) {
	c := ociv1.Image{RootFS: ociv1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	for _, l := range layers {
		d := l.Digest
		if l.Data != nil {
			d = digest.FromBytes(l.Data)
		}
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, d)
	}
	return json.Marshal(c)
}

// signBundle adds a bundle that refers to the manifest.
func (x *Exchange) signBundle(ctx context.Context, ref image.Reference, desc registry.Descriptor, key *trust.Signer) error {
	statement, err := trust.SignStatement(desc.Digest)
	if err != nil {
		return err
	}
	env, err := key.Envelope(trust.InTotoType, statement)
	if err != nil {
		return err
	}
	bundle, err := trust.NewBundle(env, key.Public())
	if err != nil {
		return err
	}
	_, err = x.client.PushArtifact(ctx, image.Reference{Host: ref.Host, Path: ref.Path}, BundleArtifact(bundle, trust.SignPredicate, desc))
	return err
}

// BundleArtifact is what cosign 3 keeps a bundle in: a manifest that refers to
// subject. predicate is the type of what the bundle's statement says.
func BundleArtifact(bundle []byte, predicate string, subject registry.Descriptor) registry.Artifact {
	return registry.Artifact{
		ArtifactType: trust.BundleType,
		Layers:       []registry.ArtifactLayer{{Descriptor: registry.Descriptor{MediaType: trust.BundleType}, Data: bundle}},
		Annotations: map[string]string{
			"dev.sigstore.bundle.content":       "dsse-envelope",
			"dev.sigstore.bundle.predicateType": predicate,
			ociv1.AnnotationCreated:             time.Now().UTC().Format(time.RFC3339),
		},
		Subject: &subject,
	}
}
