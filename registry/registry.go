package registry

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// Options says how registries are reached. The zero value works: HTTPS with
// verification, anonymous, four transfers at once, no proxy.
type Options struct {
	TLSNoVerify bool // accept any certificate
	PlainHTTP   bool // HTTP instead of HTTPS for every registry

	// Auth makes the client authenticate from the first request and ask for
	// credentials at once, instead of trying as nobody first.
	Auth bool
	// Credentials knows secrets by registry; it is asked before the first
	// request to a registry, and its answer is sent only to that registry and
	// its token server.
	Credentials Source
	// Ask gives secrets that belong to no registry by name (the environment, a
	// prompt). It is asked only after a registry refused, or with Auth.
	Ask Source
	// AskAlways asks again each time a secret is needed (one-time passwords).
	AskAlways bool

	// Proxy chooses the proxy of a request, as in http.Transport.
	Proxy func(*http.Request) (*url.URL, error)
	// CertDirs are searched in order for HOST[:PORT]/*.crt (authorities) and
	// *.cert with *.key (client certificates), as docker's certs.d.
	CertDirs []string
	// Registries holds mirrors, blocked and insecure registries; nil is none.
	Registries *RegistriesConf

	UserAgent string       // product token, e.g. "virga/1.0"
	Log       *slog.Logger // nil logs nothing
	Progress  Progress     // nil reports nothing

	MaxParallel int // transfers at once in Fetch and Push; 0 is 4
	Timeouts    Timeouts
	Retry       Retry
}

// Timeouts end waits that would never end. Zero members take the defaults.
type Timeouts struct {
	Connect time.Duration // TCP and TLS, each; 15 s
	Header  time.Duration // from the request to the head of its answer; 60 s
	Stall   time.Duration // a transfer that moves no byte; 30 s
}

// Retry bounds how often a request is repeated after a broken connection, a
// stall, 429 or 5xx. Zero members take the defaults.
type Retry struct {
	Attempts int           // in all; 5
	Initial  time.Duration // wait before the second, doubled each time; 250 ms
	Max      time.Duration // longest wait, also bounds Retry-After; 30 s
}

// Progress hears about transfers, from several goroutines at once.
type Progress interface {
	// Start announces a blob. It is called once per blob, even if the
	// transfer is resumed.
	Start(d digest.Digest, size int64)
	// Advance reports n more bytes; n is negative when a transfer starts over.
	Advance(d digest.Digest, n int64)
	// Finish ends what Start began.
	Finish(d digest.Digest, err error)
}

// Client talks to any number of registries. It is safe for concurrent use and
// remembers tokens and connections; make one per command.
type Client struct {
	opts Options
}

// New returns a client. It does not touch the network.
func New(opts Options) (*Client, error) {
	return &Client{opts: opts}, nil
}

// Descriptor names a blob or manifest.
type Descriptor struct {
	Digest    digest.Digest
	Size      int64
	MediaType string
}

// Want says which image of an index is chosen.
type Want struct {
	Platform image.Platform
	// Yolo takes whatever the registry gives, unchecked: of an index
	// linux/amd64, which is what registries give to clients that do not know
	// indexes, or else its first image.
	Yolo bool
}

// Remote is an image in a registry: everything but the layers, verified.
type Remote struct {
	Reference  image.Reference
	Platform   image.Platform // as the configuration states it, or else the index
	Manifest   []byte         // exactly as received
	Descriptor Descriptor     // of Manifest

	// Index is the index that the reference names, and the zero Descriptor if
	// it names an image; IndexManifest is its text.
	Index         Descriptor
	IndexManifest []byte

	ConfigBytes      []byte // exactly as received
	ConfigDescriptor Descriptor
	Config           *image.Config

	Layers  []Descriptor    // bottom first, compressed, as they stand in the manifest
	DiffIDs []digest.Digest // of the same length
}

// Digest returns what the reference names: the index's digest or the image's.
func (r *Remote) Digest() digest.Digest {
	if r.Index.Digest != "" {
		return r.Index.Digest
	}
	return r.Descriptor.Digest
}

// Resolve fetches what ref names (by digest if it has one, else by tag),
// follows indexes to the image that want describes, and verifies manifest and
// configuration. Layers are not fetched.
//
// A missing platform is a *PlatformError that lists those there are.
func (c *Client) Resolve(ctx context.Context, ref image.Reference, want Want) (*Remote, error) {
	panic("BUG: not yet")
}

// Platforms returns the platforms of the images that ref names, in the
// registry's order.
func (c *Client) Platforms(ctx context.Context, ref image.Reference) ([]image.Platform, error) {
	panic("BUG: not yet")
}

// Head returns what ref names now without fetching it: a cheap way to see
// that a tag did not move. Size and MediaType are the registry's word.
func (c *Client) Head(ctx context.Context, ref image.Reference) (Descriptor, error) {
	panic("BUG: not yet")
}

// Manifest fetches one manifest or index of any type, verified against the
// digest of ref, or the registry's Docker-Content-Digest.
func (c *Client) Manifest(ctx context.Context, ref image.Reference) ([]byte, Descriptor, error) {
	panic("BUG: not yet")
}
