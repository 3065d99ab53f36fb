package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"virga/image"
)

// maxArtifact bounds a blob of an artifact that is read into memory, and
// maxReferrerPages a list of referrers.
const (
	maxArtifact      = 32 << 20
	maxReferrerPages = 64
)

// Artifact is a manifest that is no image: a signature, an attestation. What
// it consists of is small.
type Artifact struct {
	ArtifactType string
	// Config is the configuration, of ConfigType; without one the empty
	// descriptor of the image specification takes its place.
	Config      []byte
	ConfigType  string
	Layers      []ArtifactLayer
	Annotations map[string]string
	// Subject is the manifest that the artifact refers to, or nil.
	Subject *Descriptor
}

// ArtifactLayer is one blob of an artifact.
type ArtifactLayer struct {
	Descriptor
	Annotations map[string]string
	// Data is what PushArtifact sends; nil: the repository has the blob that
	// Descriptor names. Artifact leaves it nil; SmallBlob fetches it.
	Data []byte
}

// Referrer is an entry in the list of what refers to a manifest.
type Referrer struct {
	Descriptor
	ArtifactType string
	Annotations  map[string]string
}

// PushArtifact sends an artifact to the repository of ref, under ref's tag if
// it has one and else by digest, and returns its descriptor. Digests and sizes
// of layers that have data are computed. If it has a subject and the registry keeps no list
// of referrers itself, it is entered in the index under the referrers tag
// (distribution specification v1.1, "Referrers Tag Schema"); entries that are
// there stay.
func (c *Client) PushArtifact(ctx context.Context, ref image.Reference, a Artifact) (Descriptor, error) {
	p, err := c.NewPusher(ref, PushOptions{})
	if err != nil {
		return Descriptor{}, err
	}
	m := ociv1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageManifest,
		ArtifactType: a.ArtifactType, Config: ociv1.DescriptorEmptyJSON, Annotations: a.Annotations,
		Layers: make([]ociv1.Descriptor, 0, len(a.Layers)),
	}
	config := []byte("{}")
	if a.Config != nil {
		config = a.Config
		m.Config = ociv1.Descriptor{MediaType: a.ConfigType, Digest: digest.FromBytes(config), Size: int64(len(config))}
	}
	m.Config.Data = nil // not every registry takes it
	if err := p.Blob(ctx, memoryUpload(config)); err != nil {
		return Descriptor{}, err
	}
	for _, l := range a.Layers {
		if l.Data != nil {
			u := memoryUpload(l.Data)
			if err := p.Blob(ctx, u); err != nil {
				return Descriptor{}, err
			}
			l.Digest, l.Size = u.Digest, u.Size
		}
		m.Layers = append(m.Layers, ociv1.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size, Annotations: l.Annotations})
	}
	if s := a.Subject; s != nil {
		m.Subject = &ociv1.Descriptor{MediaType: s.MediaType, Digest: s.Digest, Size: s.Size}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return Descriptor{}, err
	}
	out := Descriptor{Digest: digest.FromBytes(body), Size: int64(len(body)), MediaType: m.MediaType}
	if ref.Digest = ""; ref.Tag == "" {
		ref.Digest = out.Digest
	}
	repo := p.p.repo
	_, listed, err := repo.put(ctx, ref, m.MediaType, body)
	if err != nil || a.Subject == nil || listed {
		return out, err
	}
	return out, repo.enterReferrer(ctx, ref, a.Subject.Digest, ociv1.Descriptor{
		MediaType: out.MediaType, Digest: out.Digest, Size: out.Size, ArtifactType: a.ArtifactType, Annotations: a.Annotations,
	})
}

func memoryUpload(b []byte) Upload {
	return Upload{
		Descriptor: Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))},
		Open:       func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

// referrersTag is where a registry without the referrers API keeps the list.
func referrersTag(subject digest.Digest) string {
	return subject.Algorithm().String() + "-" + subject.Encoded()
}

// enterReferrer adds an entry to the index under the referrers tag. The
// protocol has no lock: whoever writes at the same moment may take the entry
// out again, so it is looked for once more.
func (r *repository) enterReferrer(ctx context.Context, ref image.Reference, subject digest.Digest, entry ociv1.Descriptor) error {
	ref.Tag, ref.Digest = referrersTag(subject), ""
	for range 3 {
		list, err := r.taggedReferrers(ctx, ref)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if slices.ContainsFunc(list, func(d ociv1.Descriptor) bool { return d.Digest == entry.Digest }) {
			return nil
		}
		body, err := json.Marshal(ociv1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageIndex, Manifests: append(list, entry),
		})
		if err != nil {
			return err
		}
		if _, err := r.putManifest(ctx, ref, ociv1.MediaTypeImageIndex, body); err != nil {
			return err
		}
	}
	return &Error{Op: "push referrer of", Object: ref.String(), Kind: ErrProtocol, Err: errors.New("somebody else writes the list of referrers at the same time"), Advice: "try again"}
}

func (r *repository) taggedReferrers(ctx context.Context, ref image.Reference) ([]ociv1.Descriptor, error) {
	body, _, err := r.manifest(ctx, ref.String(), ref.Tag, Descriptor{})
	if err != nil {
		return nil, err
	}
	return parseReferrers(ref.String(), body)
}

func parseReferrers(object string, body []byte) ([]ociv1.Descriptor, error) {
	var index ociv1.Index
	if err := json.Unmarshal(body, &index); err != nil {
		return nil, &Error{Op: "read referrers of", Object: object, Kind: ErrProtocol, Err: err}
	}
	return index.Manifests, nil
}

// Referrers lists what refers to the manifest subject in ref's repository and
// is of artifactType, or of any type if that is empty. None is no error.
func (c *Client) Referrers(ctx context.Context, ref image.Reference, subject digest.Digest, artifactType string) ([]Referrer, error) {
	ref.Tag, ref.Digest = "", subject
	var out []Referrer
	err := c.each(ctx, ref, func(r *repository) error {
		list, err := r.referrers(ctx, ref, artifactType)
		if err != nil {
			return err
		}
		out = nil
		for _, d := range list {
			if artifactType != "" && d.ArtifactType != artifactType || d.Digest.Validate() != nil || d.Size < 0 {
				continue
			}
			out = append(out, Referrer{Descriptor{d.Digest, d.Size, d.MediaType}, d.ArtifactType, d.Annotations})
		}
		if len(out) == 0 {
			return errNoReferrers // a mirror that has none says nothing about the registry
		}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return out, err
}

var errNoReferrers = &Error{Op: "list", Object: "referrers", Kind: ErrNotFound, Err: errors.New("none")}

// referrers asks the referrers API, page by page, and the referrers tag if
// the registry does not know it.
func (r *repository) referrers(ctx context.Context, ref image.Reference, artifactType string) ([]ociv1.Descriptor, error) {
	next := "/v2/" + r.path + "/referrers/" + ref.Digest.String()
	if artifactType != "" {
		next += "?artifactType=" + url.QueryEscape(artifactType)
	}
	var all []ociv1.Descriptor
	for range maxReferrerPages {
		body, resp, err := r.s.slurp(ctx, call{
			op: "list referrers of", object: ref.String(), method: http.MethodGet, url: next,
			header: http.Header{"Accept": {ociv1.MediaTypeImageIndex}}, scope: scope{repo: r.path}, ok: []int{http.StatusOK},
		}, maxManifest)
		if all == nil && (errors.Is(err, ErrNotFound) || refusesMethod(err) || err == nil && mediaType(resp) != ociv1.MediaTypeImageIndex) {
			ref.Tag, ref.Digest = referrersTag(ref.Digest), ""
			return r.taggedReferrers(ctx, ref)
		}
		if err != nil {
			return nil, err
		}
		list, err := parseReferrers(ref.String(), body)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if next, err = nextPage(resp); next == "" || err != nil {
			return all, err
		}
	}
	return nil, &Error{Op: "list referrers of", Object: ref.String(), Kind: ErrProtocol, Err: fmt.Errorf("the list has more than %d pages", maxReferrerPages)}
}

// nextPage reads a header `Link: <URL>; rel="next"` (RFC 8288) of the same
// registry.
func nextPage(resp *http.Response) (string, error) {
	link, params, ok := strings.Cut(resp.Header.Get("Link"), ">")
	if link, ok = strings.CutPrefix(link, "<"); !ok || !strings.Contains(params, "next") {
		return "", nil
	}
	u, err := resp.Request.URL.Parse(link)
	if err != nil || u.Host != resp.Request.URL.Host {
		return "", &Error{Op: "list referrers", Object: oneLine(link), Kind: ErrProtocol, Err: errors.New("the next page is elsewhere")}
	}
	return u.RequestURI(), nil
}

// Artifact fetches the manifest of an artifact: by ref's digest, against
// which it is verified, or else by its tag.
func (c *Client) Artifact(ctx context.Context, ref image.Reference) (*Artifact, error) {
	var out *Artifact
	err := c.each(ctx, ref, func(r *repository) error {
		body, _, err := r.manifest(ctx, ref.String(), ref.Tag, Descriptor{Digest: ref.Digest})
		if err != nil {
			return err
		}
		out, err = parseArtifact(ref, body)
		return err
	})
	return out, err
}

func parseArtifact(ref image.Reference, body []byte) (*Artifact, error) {
	var m ociv1.Manifest
	err := json.Unmarshal(body, &m)
	for _, l := range m.Layers {
		if err == nil && (l.Digest.Validate() != nil || l.Size < 0) {
			err = fmt.Errorf("digest %q or size %d of a layer is malformed", l.Digest, l.Size)
		}
	}
	if err != nil {
		return nil, &Error{Op: "read manifest of", Object: ref.String(), Kind: ErrProtocol, Err: err}
	}
	a := &Artifact{ArtifactType: m.ArtifactType, ConfigType: m.Config.MediaType, Annotations: m.Annotations}
	if a.ArtifactType == "" { // image specification v1.1, "Guidelines for Artifact Usage"
		a.ArtifactType = m.Config.MediaType
	}
	for _, l := range m.Layers {
		a.Layers = append(a.Layers, ArtifactLayer{Descriptor: Descriptor{l.Digest, l.Size, l.MediaType}, Annotations: l.Annotations})
	}
	if s := m.Subject; s != nil {
		a.Subject = &Descriptor{s.Digest, s.Size, s.MediaType}
	}
	return a, nil
}

// SmallBlob fetches a verified blob of ref's repository into memory. One of
// more than 32 MiB is an error.
func (c *Client) SmallBlob(ctx context.Context, ref image.Reference, desc Descriptor) ([]byte, error) {
	fail := func(kind error, format string, a ...any) error {
		return &Error{Op: "fetch blob", Object: desc.Digest.String(), Kind: kind, Err: fmt.Errorf(format, a...)}
	}
	if desc.Size > maxArtifact {
		return nil, fail(ErrProtocol, "it is larger than %d MiB", maxArtifact>>20)
	}
	var body []byte
	err := c.each(ctx, ref, func(r *repository) (err error) {
		body, _, err = r.s.slurp(ctx, call{
			op: "fetch blob", object: desc.Digest.String(), method: http.MethodGet,
			url: "/v2/" + r.path + "/blobs/" + desc.Digest.String(), scope: scope{repo: r.path}, ok: []int{http.StatusOK},
		}, maxArtifact)
		if err != nil {
			return err
		}
		if got := desc.Digest.Algorithm().FromBytes(body); got != desc.Digest || int64(len(body)) != desc.Size {
			return fail(ErrCorrupt, "%d bytes of digest %s were received, not %d", len(body), got, desc.Size)
		}
		return nil
	})
	return body, err
}
