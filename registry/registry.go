package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
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
	opts       Options
	log        *slog.Logger
	transports transports
	sessions   sync.Map // of *session
	preferred  sync.Map // repository name -> endpoint that served it last
}

// New returns a client. It does not touch the network.
func New(opts Options) (*Client, error) {
	if opts.MaxParallel < 0 {
		return nil, fmt.Errorf("registry client: %d parallel transfers", opts.MaxParallel)
	}
	c := &Client{opts: opts, log: opts.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	o := &c.opts
	o.MaxParallel = cmp.Or(o.MaxParallel, 4)
	o.Timeouts.Connect = cmp.Or(o.Timeouts.Connect, 15*time.Second)
	o.Timeouts.Header = cmp.Or(o.Timeouts.Header, time.Minute)
	o.Timeouts.Stall = cmp.Or(o.Timeouts.Stall, 30*time.Second)
	o.Retry.Attempts = cmp.Or(o.Retry.Attempts, 5)
	o.Retry.Initial = cmp.Or(o.Retry.Initial, 250*time.Millisecond)
	o.Retry.Max = cmp.Or(o.Retry.Max, 30*time.Second)
	c.transports.opts = o
	return c, nil
}

// Close drops idle connections. The client can be used again.
func (c *Client) Close() { c.transports.close() }

// each calls use with the places where ref may be found, mirrors first, until
// one succeeds. What was served last is tried first. The error is that of the
// last place, the registry that ref names.
func (c *Client) each(ctx context.Context, ref image.Reference, use func(*repository) error) error {
	ends, err := c.opts.Registries.endpoints(ref)
	if err != nil {
		return err
	}
	name := ref.Host + "/" + ref.Path
	if p, ok := c.preferred.Load(name); ok && slices.Contains(ends, p.(endpoint)) {
		ends = append([]endpoint{p.(endpoint)}, ends...)
	}
	for _, e := range ends {
		err = use(&repository{s: c.session(e), path: e.repo})
		if err == nil {
			if len(ends) > 1 {
				c.preferred.Store(name, e)
			}
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrPlatform) {
			return err
		}
		if e.mirror {
			c.log.Info("mirror failed", "mirror", e.host, "cause", err)
		}
	}
	return err
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
