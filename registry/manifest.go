package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

// Bounds on what is read into memory. 4 MiB for manifests is what registries
// must accept (distribution specification v1.1, "Pushing Manifests") and what
// Docker reads.
const (
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
)

// ociZstdDocker is what BuildKit calls zstd layers in Docker manifests; the
// other media types have names in go-containerregistry.
const ociZstdDocker types.MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd"

func manifestTypes() []types.MediaType {
	return []types.MediaType{types.OCIImageIndex, types.DockerManifestList, types.OCIManifestSchema1, types.DockerManifestSchema2}
}

// repository is one repository of one registry.
type repository struct {
	s    *session
	path string
}

func (r *repository) manifestURL(tagOrDigest string) string {
	return "/v2/" + r.path + "/manifests/" + tagOrDigest
}

func acceptManifests() http.Header {
	var h []string
	for _, t := range manifestTypes() {
		h = append(h, string(t))
	}
	return http.Header{"Accept": h}
}

// head asks for a manifest's digest alone.
func (r *repository) head(ctx context.Context, object, tagOrDigest string) (Descriptor, error) {
	resp, err := r.s.do(ctx, call{
		op: "look up", object: object, method: http.MethodHead, url: r.manifestURL(tagOrDigest),
		header: acceptManifests(), scope: scope{repo: r.path}, ok: []int{http.StatusOK},
	})
	if err != nil {
		return Descriptor{}, err
	}
	discard(resp.Body)
	d := Descriptor{
		Digest:    digest.Digest(resp.Header.Get("Docker-Content-Digest")),
		Size:      resp.ContentLength,
		MediaType: mediaType(resp),
	}
	if d.Digest.Validate() != nil {
		return Descriptor{}, errNoDigest
	}
	return d, nil
}

// errNoDigest: the registry does not say digests in headers.
var errNoDigest = errors.New("no Docker-Content-Digest")

// manifest fetches a manifest by tag, or by digest if want has one, and
// verifies it against the digest and size of want, or else the digest that
// the registry claims.
func (r *repository) manifest(ctx context.Context, object, tag string, want Descriptor) ([]byte, Descriptor, error) {
	name := tag
	if want.Digest != "" {
		name = want.Digest.String()
	}
	c := call{
		op: "fetch manifest of", object: object, method: http.MethodGet, url: r.manifestURL(name),
		header: acceptManifests(), scope: scope{repo: r.path}, ok: []int{http.StatusOK},
	}
	fail := func(kind, err error, advice string) ([]byte, Descriptor, error) {
		return nil, Descriptor{}, &Error{Op: c.op, Object: object, Kind: kind, Err: err, Advice: advice}
	}
	body, resp, err := r.s.slurp(ctx, c, maxManifest)
	if err != nil {
		return nil, Descriptor{}, err
	}
	if isHTML(resp) {
		return fail(ErrProtocol, fmt.Errorf("registry %s answers with a web page", r.s.end.host), "is there a proxy or a login page between?")
	}
	got := digest.FromBytes(body)
	if want.Digest != "" && want.Digest.Algorithm() != digest.SHA256 {
		got = want.Digest.Algorithm().FromBytes(body)
	}
	claim := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	switch {
	case want.Digest != "" && got != want.Digest:
		return fail(ErrCorrupt, fmt.Errorf("digest is %s, not %s", got, want.Digest), hintCorrupt)
	case want.Digest == "" && claim.Validate() == nil && claim.Algorithm() == digest.SHA256 && got != claim:
		return fail(ErrCorrupt, fmt.Errorf("digest is %s, the registry says %s", got, claim), hintCorrupt)
	case want.Size > 0 && int64(len(body)) != want.Size:
		return fail(ErrCorrupt, fmt.Errorf("size is %d, its index says %d", len(body), want.Size), hintCorrupt)
	}
	mt, err := manifestType(mediaType(resp), body)
	if err != nil {
		kind, advice := ErrProtocol, ""
		if errors.Is(err, errSchema1) {
			kind, advice = ErrUnsupported, "this format ended in 2017; push the image again with a current tool"
		}
		return fail(kind, err, advice)
	}
	return body, Descriptor{Digest: got, Size: int64(len(body)), MediaType: string(mt)}, nil
}

const hintCorrupt = "something between changes what the registry sends, or its storage is damaged"

// slurp reads a small document whole. A connection that breaks in its middle
// is a reason to ask again.
func (s *session) slurp(ctx context.Context, c call, limit int64) ([]byte, *http.Response, error) {
	for n := 1; ; n++ {
		resp, err := s.do(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		done := bounded(resp.Body, s.client.opts.Timeouts.Header)
		body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
		done()
		_ = resp.Body.Close()
		if err == nil && resp.ContentLength >= 0 && int64(len(body)) < min(resp.ContentLength, limit+1) {
			err = io.ErrUnexpectedEOF
		}
		if int64(len(body)) > limit {
			return nil, nil, &Error{Op: c.op, Object: c.object, Kind: ErrProtocol, Err: fmt.Errorf("larger than %d MiB", limit>>20)}
		}
		if err == nil {
			return body, resp, nil
		}
		if ctx.Err() != nil || n >= s.client.opts.Retry.Attempts {
			return nil, nil, s.failure(ctx, c, err)
		}
		if err := sleep(ctx, s.client.backoff(n)); err != nil {
			return nil, nil, s.failure(ctx, c, err)
		}
	}
}

func mediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

var errSchema1 = errors.New("its manifest is of schema 1, which names no verifiable configuration")

// manifestType decides what a manifest is. The header and the document must
// agree, and a document must not be readable as both an image and an index
// (CVE-2021-41190). Registries that serve manifests as plain JSON are told by
// the document alone.
func manifestType(header string, body []byte) (types.MediaType, error) {
	var doc struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", fmt.Errorf("it is no JSON document: %w", err)
	}
	h := types.MediaType(header)
	if h.IsSchema1() || doc.MediaType.IsSchema1() || doc.SchemaVersion == 1 || doc.FSLayers != nil {
		return "", errSchema1
	}
	if doc.Manifests != nil && (doc.Config != nil || doc.Layers != nil) {
		return "", errors.New("it is image and index at once")
	}
	mt := doc.MediaType
	switch {
	case h.IsImage() || h.IsIndex():
		if mt != "" && mt != h {
			return "", fmt.Errorf("it says to be %q, the registry says %q", mt, h)
		}
		mt = h
	case mt == "" && doc.Manifests != nil:
		mt = types.OCIImageIndex
	case mt == "" && doc.Config != nil:
		mt = types.OCIManifestSchema1
	}
	switch {
	case mt.IsIndex() && doc.Manifests != nil, mt.IsImage() && doc.Config != nil:
		return mt, nil
	case mt.IsIndex() || mt.IsImage():
		return "", fmt.Errorf("it is not the %q it says to be", mt)
	}
	return "", fmt.Errorf("its media type %q is neither an image's nor an index's", strings.TrimSpace(string(mt)+" "+header))
}

// parseImage reads an image manifest and refuses what cannot become an image.
func parseImage(body []byte) (*v1.Manifest, error) {
	m, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if !isConfig(m.Config.MediaType) {
		return nil, fmt.Errorf("%w: it is %w (configuration of type %q)", ErrUnsupported, errArtifact, m.Config.MediaType)
	}
	if err := checkDescriptor(m.Config); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	for i, l := range m.Layers {
		if err := checkDescriptor(l); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		switch {
		case !l.MediaType.IsDistributable(), strings.Contains(string(l.MediaType), "nondistributable"):
			return nil, fmt.Errorf("%w: layer %d is %w (%s): the registry does not have it", ErrUnsupported, i+1, errForeign, l.MediaType)
		case !l.MediaType.IsLayer() && l.MediaType != ociZstdDocker:
			return nil, fmt.Errorf("%w: layer %d is of type %q", ErrUnsupported, i+1, l.MediaType)
		}
	}
	return m, nil
}

var (
	errArtifact = errors.New("no container image")
	errForeign  = errors.New("foreign")
)

// unsupportedAdvice is what to do about an image that parseImage refuses.
func unsupportedAdvice(err error) string {
	switch {
	case errors.Is(err, errArtifact):
		return "it is an artifact of another tool (a Helm chart, a signature, ...); fetch it with that tool"
	case errors.Is(err, errForeign):
		return "its licence keeps that layer out of registries; push the image again with all its layers"
	}
	return ""
}

// isConfig reports whether a type is that of an image's configuration.
// Registries of 2016 rewrote it to defaults (distribution issue 1622), which
// Docker accepts to this day.
func isConfig(t types.MediaType) bool {
	switch t {
	case "", "application/octet-stream", "application/json", "text/html", "text/plain":
		return true
	}
	return t.IsConfig()
}

// checkDescriptor refuses descriptors without digest or with a negative size.
// The digest's form is already checked: v1.Hash reads nothing but hexadecimal
// digits of the right number.
func checkDescriptor(d v1.Descriptor) error {
	if d.Digest == (v1.Hash{}) {
		return errors.New("it has no digest")
	}
	if d.Size < 0 {
		return fmt.Errorf("size %d", d.Size)
	}
	return nil
}

func descriptor(d v1.Descriptor) Descriptor {
	return Descriptor{Digest: digest.Digest(d.Digest.String()), Size: d.Size, MediaType: string(d.MediaType)}
}
