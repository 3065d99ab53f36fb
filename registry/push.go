package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"virga/image"
)

// Upload is a blob to be pushed.
type Upload struct {
	Descriptor
	// Open returns the blob's bytes; it may be called again after a failure,
	// and not at all if the registry has the blob.
	Open func(context.Context) (io.ReadCloser, error)
	// From names repositories of the same registry that may have the blob, to
	// be mounted instead of uploaded.
	From []string
}

// Image is what Push sends: a manifest and all that it names.
type Image struct {
	Manifest  []byte
	MediaType string
	Config    []byte
	Layers    []Upload
}

// PushOptions tunes Push. The zero value works.
type PushOptions struct {
	// ChunkSize above 0 uploads in pieces of that many bytes. 0 sends each
	// blob in one request, and in pieces only to a registry that answers 413.
	ChunkSize int64
}

// Pushed says what Push did.
type Pushed struct {
	Descriptor                        // of the manifest, its digest as the registry confirmed it
	Uploaded, Mounted, Existing int   // blobs, the configuration included
	Bytes                       int64 // uploaded
}

// Push uploads the blobs that the registry lacks, several at once, then the
// manifest, to ref's tag (or to its digest, which must be the manifest's).
// Bytes that differ from their descriptor are refused before the registry
// sees the end of them.
func (c *Client) Push(ctx context.Context, ref image.Reference, img Image, opts PushOptions) (*Pushed, error) {
	if _, err := img.check(ref); err != nil {
		return nil, err
	}
	p, err := c.NewPusher(ref, opts)
	if err != nil {
		return nil, err
	}
	return p.Finish(ctx, img)
}

// Pusher is a Push in parts, for who uploads some layers while others are
// still being made. It is safe for concurrent use.
type Pusher struct{ p pusher }

// NewPusher begins to push to ref. It does not touch the network.
func (c *Client) NewPusher(ref image.Reference, opts PushOptions) (*Pusher, error) {
	r, err := c.primary(ref)
	if err != nil {
		return nil, err
	}
	return &Pusher{pusher{
		repo: r, opts: opts, to: ref, sent: map[digest.Digest]bool{},
		slots: make(chan struct{}, c.opts.MaxParallel),
	}}, nil
}

// Blob brings one blob to the registry if that lacks it. Not more than
// Options.MaxParallel are on their way at once.
func (p *Pusher) Blob(ctx context.Context, b Upload) error { return p.p.once(ctx, b) }

// Finish brings what is missing of the image, and the manifest.
func (p *Pusher) Finish(ctx context.Context, img Image) (*Pushed, error) {
	blobs, err := img.check(p.p.to)
	if err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, b := range blobs {
		g.Go(func() error { return p.p.once(gctx, b) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	p.p.done.Size, p.p.done.MediaType = int64(len(img.Manifest)), img.MediaType
	p.p.done.Digest, err = p.p.repo.putManifest(ctx, p.p.to, img.MediaType, img.Manifest)
	return &p.p.done, err
}

// primary is where ref is pushed to: never a mirror.
func (c *Client) primary(ref image.Reference) (*repository, error) {
	e, err := c.opts.Registries.pushEndpoint(ref)
	if err != nil {
		return nil, err
	}
	return &repository{s: c.session(e), path: e.repo}, nil
}

// check compares the manifest with what comes along and returns the blobs to
// upload, each once, the configuration last.
func (img *Image) check(ref image.Reference) ([]Upload, error) {
	bad := func(format string, a ...any) ([]Upload, error) {
		return nil, fmt.Errorf("push %s: %w", ref, fmt.Errorf(format, a...))
	}
	if _, err := manifestType(img.MediaType, img.Manifest); err != nil {
		return bad("manifest: %w", err)
	}
	m, err := parseImage(img.Manifest)
	if err != nil {
		return bad("manifest: %w", err)
	}
	conf := descriptor(m.Config)
	if got := conf.Digest.Algorithm().FromBytes(img.Config); got != conf.Digest || int64(len(img.Config)) != conf.Size {
		return bad("configuration is %s of %d bytes, the manifest says %s of %d", got, len(img.Config), conf.Digest, conf.Size)
	}
	given := make(map[digest.Digest]Upload, len(img.Layers))
	for _, u := range img.Layers {
		given[u.Digest] = u
	}
	var out []Upload
	for _, l := range m.Layers {
		d := descriptor(l)
		u, ok := given[d.Digest]
		switch {
		case !ok || u.Open == nil:
			return bad("layer %s is in the manifest, but not among the layers to push", d.Digest)
		case u.Size != d.Size:
			return bad("layer %s has %d bytes, the manifest says %d", d.Digest, u.Size, d.Size)
		}
		if !slices.ContainsFunc(out, func(o Upload) bool { return o.Digest == d.Digest }) {
			out = append(out, u)
		}
	}
	return append(out, Upload{Descriptor: conf, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(img.Config)), nil
	}}), nil
}

// putManifest uploads a manifest and compares the digest that the registry
// computed with ours.
func (r *repository) putManifest(ctx context.Context, ref image.Reference, mediaType string, body []byte) (digest.Digest, error) {
	d, _, err := r.put(ctx, ref, mediaType, body)
	return d, err
}

// put is putManifest; listed says that the registry has understood the
// manifest's subject and keeps the list of its referrers (distribution
// specification v1.1, "Pushing Manifests with Subject").
func (r *repository) put(ctx context.Context, ref image.Reference, mediaType string, body []byte) (_ digest.Digest, listed bool, err error) {
	want := digest.FromBytes(body)
	name := ref.Tag
	if ref.Digest != "" {
		if name = ref.Digest.String(); ref.Digest != want {
			return "", false, fmt.Errorf("push %s: the manifest's digest is %s", ref, want)
		}
	}
	c := call{
		op: "push manifest of", object: ref.String(), method: http.MethodPut, url: r.manifestURL(name),
		header: http.Header{"Content-Type": {mediaType}}, scope: scope{repo: r.path, push: true},
		body: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		size: int64(len(body)), ok: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted},
	}
	resp, err := r.s.do(ctx, c)
	if err != nil {
		return "", false, err
	}
	discard(resp.Body)
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != want.String() {
		return "", false, &Error{Op: c.op, Object: c.object, Kind: ErrCorrupt, Err: fmt.Errorf("the registry stored %s instead of %s", oneLine(got), want), Advice: hintCorrupt}
	}
	return want, resp.Header.Get("OCI-Subject") != "", nil
}
