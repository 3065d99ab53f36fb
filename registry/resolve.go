package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"virga/image"
)

// Bounds on indexes of indexes: their depth, and how many are fetched.
const (
	maxDepth   = 8
	maxIndexes = 64
)

// Resolve fetches what ref names (by digest if it has one, else by tag),
// follows indexes to the image that want describes, and verifies manifest and
// configuration. Layers are not fetched.
//
// A missing platform is a *PlatformError that lists those there are.
func (c *Client) Resolve(ctx context.Context, ref image.Reference, want Want) (*Remote, error) {
	var out *Remote
	err := c.each(ctx, ref, func(repo *repository) error {
		var err error
		out, err = repo.resolve(ctx, ref, want)
		return err
	})
	return out, err
}

func (r *repository) resolve(ctx context.Context, ref image.Reference, want Want) (*Remote, error) {
	body, desc, err := r.manifest(ctx, ref.String(), ref.Tag, Descriptor{Digest: ref.Digest})
	if err != nil {
		return nil, err
	}
	out := &Remote{Reference: ref}
	var stated image.Platform // by the index
	if types.MediaType(desc.MediaType).IsIndex() {
		out.Index, out.IndexManifest = desc, body
		chosen, err := r.choose(ctx, ref, body, desc, want)
		if err != nil {
			return nil, err
		}
		stated, _ = platformOf(chosen)
		if body, desc, err = r.manifest(ctx, ref.String(), "", descriptor(chosen)); err != nil {
			return nil, err
		}
	}
	out.Manifest, out.Descriptor = body, desc
	if err := r.describe(ctx, out); err != nil {
		return nil, err
	}
	out.Platform = out.Config.Platform()
	if out.Platform.Arch == "" {
		out.Platform = stated
	}
	if !want.Yolo {
		err = r.checkPlatform(ref, out, want.Platform)
	}
	return out, err
}

// describe reads out.Manifest and fetches the configuration.
func (r *repository) describe(ctx context.Context, out *Remote) error {
	op, object := "read manifest of", out.Reference.String()
	m, err := parseImage(out.Manifest)
	if err != nil {
		kind, advice := ErrProtocol, ""
		if errors.Is(err, ErrUnsupported) {
			kind, advice = ErrUnsupported, unsupportedAdvice(err)
		}
		return &Error{Op: op, Object: object, Kind: kind, Err: err, Advice: advice}
	}
	out.ConfigDescriptor = descriptor(m.Config)
	for _, l := range m.Layers {
		out.Layers = append(out.Layers, descriptor(l))
	}
	if out.ConfigBytes, err = r.config(ctx, object, m.Config); err != nil {
		return err
	}
	if out.Config, err = image.ParseConfig(out.ConfigBytes); err != nil {
		return &Error{Op: "read configuration of", Object: object, Kind: ErrProtocol, Err: err}
	}
	out.DiffIDs = out.Config.RootFS.DiffIDs
	if len(out.DiffIDs) != len(out.Layers) {
		return &Error{
			Op: "read configuration of", Object: object, Kind: ErrProtocol,
			Err: fmt.Errorf("it speaks of %d layers, the manifest of %d", len(out.DiffIDs), len(out.Layers)),
		}
	}
	return nil
}

// config fetches a configuration blob whole. The manifest may carry it.
func (r *repository) config(ctx context.Context, object string, d v1.Descriptor) ([]byte, error) {
	c := call{
		op: "fetch configuration of", object: object, method: http.MethodGet,
		url: "/v2/" + r.path + "/blobs/" + d.Digest.String(), scope: scope{repo: r.path}, ok: []int{http.StatusOK},
	}
	want := descriptor(d)
	if int64(len(d.Data)) == d.Size && d.Size > 0 && want.Digest.Algorithm().FromBytes(d.Data) == want.Digest {
		return d.Data, nil
	}
	if d.Size > maxConfig {
		return nil, &Error{Op: c.op, Object: object, Kind: ErrProtocol, Err: fmt.Errorf("it is larger than %d MiB", maxConfig>>20)}
	}
	body, _, err := r.s.slurp(ctx, c, maxConfig)
	if err != nil {
		return nil, err
	}
	if got := want.Digest.Algorithm().FromBytes(body); got != want.Digest || int64(len(body)) != want.Size {
		return nil, &Error{
			Op: c.op, Object: object, Kind: ErrCorrupt, Advice: hintCorrupt,
			Err: fmt.Errorf("%d bytes of digest %s, the manifest says %d of %s", len(body), got, want.Size, want.Digest),
		}
	}
	return body, nil
}

// checkPlatform compares what the configuration states with what is wanted.
// An image that states nothing is taken for amd64, as it was when such images
// were made (ch-image does the same).
func (r *repository) checkPlatform(ref image.Reference, out *Remote, want image.Platform) error {
	if out.Platform.Arch == "" {
		if want.Arch != "amd64" {
			return &PlatformError{Reference: ref, Wanted: want}
		}
		r.s.client.log.Warn("image does not state its architecture, taken for amd64", "image", ref.String())
		out.Platform = image.Platform{OS: "linux", Arch: "amd64"}
		return nil
	}
	if image.Fit(want, out.Platform) == 0 {
		return &PlatformError{Reference: ref, Wanted: want, Available: []image.Platform{out.Platform}}
	}
	if !want.Matches(out.Platform) {
		r.s.client.log.Warn("image is for an older variant of the processor", "image", ref.String(), "wanted", want.String(), "got", out.Platform.String())
	}
	return nil
}

// choose picks the image of an index that fits best, looking into indexes
// within it.
func (r *repository) choose(ctx context.Context, ref image.Reference, body []byte, desc Descriptor, want Want) (v1.Descriptor, error) {
	images, err := r.images(ctx, ref, body, desc)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if want.Yolo {
		want.Platform = image.Platform{OS: "linux", Arch: "amd64"}
	}
	best, grade := -1, 0
	var available []image.Platform
	for i, d := range images {
		p, ok := platformOf(d)
		if !ok {
			continue
		}
		available = append(available, p)
		if g := image.Fit(want.Platform, p); g > grade {
			best, grade = i, g
		}
	}
	switch {
	case best >= 0:
		return images[best], nil
	case len(images) == 0:
		return v1.Descriptor{}, &Error{Op: "pull", Object: ref.String(), Kind: ErrUnsupported, Err: errors.New("the index holds no container image")}
	case want.Yolo, len(available) == 0 && len(images) == 1:
		return images[0], nil // its configuration decides
	}
	return v1.Descriptor{}, &PlatformError{Reference: ref, Wanted: want.Platform, Available: available}
}

// images lists the images of an index and of the indexes in it, in order,
// leaving out attestations and artifacts. An image in a nested index without
// a platform of its own has that of the entry that led there.
func (r *repository) images(ctx context.Context, ref image.Reference, body []byte, desc Descriptor) ([]v1.Descriptor, error) {
	w := indexWalk{repo: r, object: ref.String(), budget: maxIndexes, path: []digest.Digest{desc.Digest}}
	err := w.walk(ctx, body, nil)
	return w.images, err
}

type indexWalk struct {
	repo   *repository
	object string
	budget int             // indexes that may still be fetched
	path   []digest.Digest // from the root to where we are
	images []v1.Descriptor
}

func (w *indexWalk) walk(ctx context.Context, body []byte, outer *v1.Platform) error {
	bad := func(format string, a ...any) error {
		return &Error{Op: "read index of", Object: w.object, Kind: ErrProtocol, Err: fmt.Errorf(format, a...)}
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(body))
	if err != nil {
		return bad("%w", err)
	}
	for i, d := range m.Manifests {
		if err := checkDescriptor(d); err != nil {
			return bad("entry %d: %w", i+1, err)
		}
		if d.Platform == nil {
			d.Platform = outer
		}
		switch {
		case isAttestation(d):
		case d.MediaType.IsImage():
			w.images = append(w.images, d)
		case d.MediaType.IsIndex():
			child := descriptor(d)
			if slices.Contains(w.path, child.Digest) {
				return bad("it contains itself")
			}
			if len(w.path) >= maxDepth {
				return bad("indexes are nested more than %d deep", maxDepth)
			}
			if w.budget--; w.budget < 0 {
				return bad("more than %d indexes in it", maxIndexes)
			}
			inner, got, err := w.repo.manifest(ctx, w.object, "", child)
			if err != nil {
				return err
			}
			if !types.MediaType(got.MediaType).IsIndex() {
				return bad("entry %d is not the index it says to be", i+1)
			}
			w.path = append(w.path, child.Digest)
			if err := w.walk(ctx, inner, d.Platform); err != nil {
				return err
			}
			w.path = w.path[:len(w.path)-1]
		}
	}
	return nil
}

// Platforms returns the platforms of the images that ref names, in the
// registry's order. One that does not state its platform is left out.
func (c *Client) Platforms(ctx context.Context, ref image.Reference) ([]image.Platform, error) {
	var out []image.Platform
	err := c.each(ctx, ref, func(r *repository) error {
		out = nil
		body, desc, err := r.manifest(ctx, ref.String(), ref.Tag, Descriptor{Digest: ref.Digest})
		if err != nil {
			return err
		}
		if types.MediaType(desc.MediaType).IsImage() {
			one := Remote{Reference: ref, Manifest: body, Descriptor: desc}
			if err := r.describe(ctx, &one); err != nil {
				return err
			}
			if p := one.Config.Platform(); p.Arch != "" {
				out = append(out, p)
			}
			return nil
		}
		images, err := r.images(ctx, ref, body, desc)
		for _, d := range images {
			if p, ok := platformOf(d); ok && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
		return err
	})
	return out, err
}

// Head returns what ref names now without fetching it: a cheap way to see
// that a tag did not move. Size and MediaType are the registry's word.
func (c *Client) Head(ctx context.Context, ref image.Reference) (Descriptor, error) {
	var out Descriptor
	err := c.each(ctx, ref, func(r *repository) error {
		name := ref.Tag
		if ref.Digest != "" {
			name = ref.Digest.String()
		}
		var err error
		out, err = r.head(ctx, ref.String(), name)
		// Some registries know no HEAD of manifests and say 404 to it.
		if errors.Is(err, errNoDigest) || errors.Is(err, ErrNotFound) || refusesMethod(err) {
			_, out, err = r.manifest(ctx, ref.String(), ref.Tag, Descriptor{Digest: ref.Digest})
		}
		return err
	})
	return out, err
}

// Manifest fetches one manifest or index, verified against the digest of ref,
// or the registry's Docker-Content-Digest.
func (c *Client) Manifest(ctx context.Context, ref image.Reference) ([]byte, Descriptor, error) {
	var (
		body []byte
		desc Descriptor
	)
	err := c.each(ctx, ref, func(r *repository) error {
		var err error
		body, desc, err = r.manifest(ctx, ref.String(), ref.Tag, Descriptor{Digest: ref.Digest})
		return err
	})
	return body, desc, err
}
