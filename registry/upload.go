package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// pusher uploads blobs to one repository (distribution specification v1.1,
// "Pushing Blobs").
type pusher struct {
	repo  *repository
	opts  PushOptions
	to    image.Reference
	slots chan struct{} // one for each upload at a time

	mu   sync.Mutex
	sent map[digest.Digest]bool
	done Pushed
}

// chunkAfter413 is the size of pieces for a registry, or a proxy before it,
// that does not take a blob in one request. 413 usually means nginx, whose
// limits are in round megabytes.
const chunkAfter413 = 8 << 20

// expectAbove is the size from which we wait for "100 Continue".
const expectAbove = 1 << 20

// upload is the transfer of one blob.
type upload struct {
	*pusher
	Upload
	chunk    int64        // size of pieces, 0 for one request
	noExpect bool         // a proxy does not know Expect
	sent     atomic.Int64 // reported as progress in this attempt
}

// once brings a blob to the registry unless that was done already.
func (p *pusher) once(ctx context.Context, b Upload) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.mu.Lock()
	sent := p.sent[b.Digest]
	p.mu.Unlock()
	if sent {
		return nil
	}
	if err := p.blob(ctx, b); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[b.Digest] = true
	return nil
}

// blob brings one blob to the registry, whatever is the cheapest way.
func (p *pusher) blob(ctx context.Context, b Upload) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	u := &upload{pusher: p, Upload: b, chunk: p.opts.ChunkSize}
	switch has, err := u.exists(ctx); {
	case err != nil:
		return err
	case has:
		u.count(func(d *Pushed) { d.Existing++ })
		return nil
	}
	location := ""
	for _, from := range b.From {
		var mounted bool
		location, mounted, err = u.begin(ctx, from)
		switch {
		case errors.Is(err, ErrUnauthorized):
			location = "" // to read from there; writing here is another matter
		case err != nil:
			return err
		case mounted:
			u.count(func(d *Pushed) { d.Mounted++ })
			return nil
		}
	}
	if pr := p.repo.s.client.opts.Progress; pr != nil {
		pr.Start(b.Digest, b.Size)
		defer func() { pr.Finish(b.Digest, err) }()
	}
	if err := u.persist(ctx, location); err != nil {
		return err
	}
	u.count(func(d *Pushed) { d.Uploaded++; d.Bytes += b.Size })
	return nil
}

func (u *upload) count(f func(*Pushed)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.done)
}

func (u *upload) call(method, url string, ok ...int) call {
	return call{op: "push blob", object: u.Digest.String(), method: method, url: url, scope: scope{repo: u.repo.path, push: true}, ok: ok}
}

// exists asks whether the registry has the blob. One that refuses the very
// question (405, or 403 from a store to whose URL, signed for GET alone, it
// redirects) is taken not to have it.
func (u *upload) exists(ctx context.Context) (bool, error) {
	resp, err := u.repo.s.do(ctx, u.call(http.MethodHead, "/v2/"+u.repo.path+"/blobs/"+u.Digest.String(), http.StatusOK, http.StatusNotFound))
	if refusesMethod(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	discard(resp.Body)
	if resp.StatusCode == http.StatusNotFound {
		return false, nil
	}
	// Some registries and proxies answer HEAD with a length of 0.
	if n := resp.ContentLength; n > 0 && n != u.Size {
		return false, &Error{Op: "push blob", Object: u.Digest.String(), Kind: ErrCorrupt, Err: fmt.Errorf("the registry has it with %d bytes instead of %d", n, u.Size), Advice: hintCorrupt}
	}
	return true, nil
}

// begin opens an upload, or mounts the blob from another repository. A
// registry that cannot mount opens an upload instead.
func (u *upload) begin(ctx context.Context, from string) (location string, mounted bool, err error) {
	c := u.call(http.MethodPost, "/v2/"+u.repo.path+"/blobs/uploads/", http.StatusAccepted, http.StatusCreated)
	if from != "" && from != u.repo.path {
		c.url += "?" + url.Values{"mount": {u.Digest.String()}, "from": {from}}.Encode()
		c.scope.mount = from
	}
	resp, err := u.repo.s.do(ctx, c)
	if err != nil {
		return "", false, err
	}
	discard(resp.Body)
	if resp.StatusCode == http.StatusCreated && from != "" {
		return "", true, nil
	}
	if n, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && u.chunk > 0 {
		u.chunk = max(u.chunk, n)
	}
	location, err = u.location(resp)
	return location, false, err
}

// location reads where an upload goes on: absolute or relative. A registry
// behind a proxy that takes off TLS often gives its own name with http.
func (u *upload) location(resp *http.Response) (string, error) {
	loc, err := resp.Location()
	if err != nil {
		return "", &Error{Op: "push blob", Object: u.Digest.String(), Kind: ErrProtocol, Err: fmt.Errorf("the registry does not say where to upload to: %w", err)}
	}
	base, err := url.Parse(u.repo.s.base)
	if err == nil && loc.Hostname() == base.Hostname() && base.Scheme == "https" && loc.Scheme == "http" && (loc.Port() == "" || loc.Port() == base.Port()) {
		loc.Scheme, loc.Host = base.Scheme, base.Host
	}
	return loc.String(), nil
}

// persist uploads until it succeeded or there is no hope.
func (u *upload) persist(ctx context.Context, location string) error {
	s := u.repo.s
	for n := 1; ; n++ {
		err := u.attempt(ctx, location)
		if err == nil {
			return nil
		}
		location = ""
		if sent := u.sent.Swap(0); s.client.opts.Progress != nil && sent > 0 {
			s.client.opts.Progress.Advance(u.Digest, -sent)
		}
		var answer *statusError
		switch {
		case ctx.Err() != nil:
			return err
		case errors.As(err, &answer) && answer.code == http.StatusRequestEntityTooLarge && (u.chunk == 0 || u.chunk > 1<<20):
			if u.chunk == 0 {
				u.chunk = 2 * chunkAfter413
			}
			u.chunk /= 2
			n-- // no failure: the next attempt asks for less
			continue
		case errors.As(err, &answer) && answer.code == http.StatusExpectationFailed && !u.noExpect:
			u.noExpect = true
			n--
			continue
		case n >= s.client.opts.Retry.Attempts,
			!errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrRateLimited) && !errors.Is(err, ErrNotFound):
			return err
		}
		s.client.log.Debug("upload again", "blob", u.Digest, "attempt", n, "cause", err)
		if err := sleep(ctx, s.client.backoff(n)); err != nil {
			return err
		}
	}
}

// attempt uploads the blob once.
func (u *upload) attempt(ctx context.Context, location string) (err error) {
	if location == "" {
		if location, _, err = u.begin(ctx, ""); err != nil {
			return err
		}
	}
	if u.chunk == 0 {
		return u.goOn(ctx, location, u.whole(ctx, location))
	}
	return u.pieces(ctx, location)
}

// goOn sends the rest after an upload in one request broke off, if the
// registry kept what it had got. Not all do: distribution refuses to say
// (its upload state no longer fits). Then broken is returned.
func (u *upload) goOn(ctx context.Context, location string, broken error) error {
	s := u.repo.s
	had := int64(0)
	for n := 1; brokeOff(broken) && ctx.Err() == nil && n < s.client.opts.Retry.Attempts; n++ {
		if sleep(ctx, s.client.backoff(n)) != nil {
			return broken
		}
		at, where, err := u.progress(ctx, location)
		if err != nil || at < progressWorth || at > u.Size {
			return broken
		}
		if at-had >= progressWorth {
			n = 0
		}
		had, location = at, where
		u.moved(at - u.sent.Load())
		s.client.log.Debug("upload goes on", "blob", u.Digest, "from", at, "cause", broken)
		if at < u.Size {
			if location, broken = u.remainder(ctx, where, at); broken != nil {
				location = where
				continue
			}
		}
		return u.finish(ctx, u.call(http.MethodPut, withDigest(location, u.Digest), http.StatusCreated, http.StatusNoContent))
	}
	return broken
}

// brokeOff reports whether err is a connection that ended, not an answer.
func brokeOff(err error) bool {
	var answer *statusError
	return errors.Is(err, ErrUnreachable) && !errors.As(err, &answer)
}

// remainder sends all bytes from at in one PATCH. What comes before is read
// too, because the digest is of the whole.
func (u *upload) remainder(ctx context.Context, location string, at int64) (string, error) {
	c := u.call(http.MethodPatch, location, http.StatusAccepted, http.StatusCreated, http.StatusNoContent)
	c.header = http.Header{
		"Content-Type":  {"application/octet-stream"},
		"Content-Range": {fmt.Sprintf("%d-%d", at, u.Size-1)},
	}
	c.size, c.once, c.moved = u.Size-at, true, u.moved
	c.body = func(ctx context.Context) (io.ReadCloser, error) {
		r, err := u.open(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, r, at); err != nil {
			_ = r.Close()
			return nil, err
		}
		return r, nil
	}
	resp, err := u.repo.s.do(ctx, c)
	if err != nil {
		return "", err
	}
	discard(resp.Body)
	return u.location(resp)
}

// whole sends everything in one PUT.
func (u *upload) whole(ctx context.Context, location string) error {
	c := u.call(http.MethodPut, withDigest(location, u.Digest), http.StatusCreated, http.StatusAccepted, http.StatusNoContent)
	c.header = http.Header{"Content-Type": {"application/octet-stream"}}
	if u.Size > expectAbove && !u.noExpect {
		c.header.Set("Expect", "100-continue")
	}
	c.size, c.once, c.moved = u.Size, true, u.moved
	c.body = func(ctx context.Context) (io.ReadCloser, error) { return u.open(ctx) }
	return u.finish(ctx, c)
}

// finish sends the request that ends an upload and compares digests.
func (u *upload) finish(ctx context.Context, c call) error {
	resp, err := u.repo.s.do(ctx, c)
	if err != nil {
		return err
	}
	discard(resp.Body)
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != u.Digest.String() {
		return &Error{Op: "push blob", Object: u.Digest.String(), Kind: ErrCorrupt, Err: fmt.Errorf("the registry stored %s", oneLine(got)), Advice: hintCorrupt}
	}
	return nil
}

// pieces sends PATCH requests of u.chunk bytes. After a failure the registry
// is asked how much it has.
func (u *upload) pieces(ctx context.Context, location string) error {
	src, err := u.open(ctx)
	if err != nil {
		return fmt.Errorf("push blob %s: %w", u.Digest, err)
	}
	defer src.Close()
	buf := make([]byte, min(u.chunk, max(u.Size, 1)))
	for off := int64(0); off < u.Size; {
		n := min(u.chunk, u.Size-off)
		if _, err := io.ReadFull(src, buf[:n]); err != nil {
			return fmt.Errorf("push blob %s: %w", u.Digest, err)
		}
		if location, err = u.piece(ctx, location, off, buf[:n]); err != nil {
			return err
		}
		off += n
		u.moved(n)
	}
	c := u.call(http.MethodPut, withDigest(location, u.Digest), http.StatusCreated, http.StatusNoContent)
	return u.finish(ctx, c)
}

// piece brings the bytes from off into the upload, in as many requests as it
// takes, and returns where it goes on.
func (u *upload) piece(ctx context.Context, location string, off int64, b []byte) (string, error) {
	s := u.repo.s
	start := off
	for n := 1; ; n++ {
		rest := b[start-off:]
		c := u.call(http.MethodPatch, location, http.StatusAccepted, http.StatusCreated, http.StatusNoContent)
		c.header = http.Header{
			"Content-Type":  {"application/octet-stream"},
			"Content-Range": {fmt.Sprintf("%d-%d", start, start+int64(len(rest))-1)},
		}
		c.size, c.once = int64(len(rest)), true
		c.body = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(rest)), nil }
		resp, err := s.do(ctx, c)
		if err == nil {
			discard(resp.Body)
			return u.location(resp)
		}
		if ctx.Err() != nil || n >= s.client.opts.Retry.Attempts || !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrRateLimited) {
			return "", err
		}
		if err := sleep(ctx, s.client.backoff(n)); err != nil {
			return "", err
		}
		at, where, askErr := u.progress(ctx, location)
		if askErr != nil || at < off || at > off+int64(len(b)) {
			return "", err // begin anew
		}
		if start, location = at, where; start == off+int64(len(b)) {
			return location, nil
		}
	}
}

// progress asks how many bytes of an upload the registry has.
func (u *upload) progress(ctx context.Context, location string) (int64, string, error) {
	resp, err := u.repo.s.do(ctx, u.call(http.MethodGet, location, http.StatusNoContent, http.StatusAccepted))
	if err != nil {
		return 0, "", err
	}
	discard(resp.Body)
	_, last, _ := strings.Cut(resp.Header.Get("Range"), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if err != nil {
		return 0, "", err
	}
	if resp.Header.Get("Location") == "" {
		return n + 1, location, nil
	}
	where, err := u.location(resp)
	return n + 1, where, err
}

func (u *upload) moved(n int64) {
	u.sent.Add(n)
	if pr := u.repo.s.client.opts.Progress; pr != nil {
		pr.Advance(u.Digest, n)
	}
}

func withDigest(location string, d digest.Digest) string {
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	return location + sep + "digest=" + url.QueryEscape(d.String())
}

// open opens the blob behind a check of its size and digest.
func (u *upload) open(ctx context.Context) (io.ReadCloser, error) {
	r, err := u.Upload.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &checkedReader{r: r, d: u.Descriptor, sum: u.Digest.Algorithm().Hash()}, nil
}

// checkedReader fails instead of returning the last bytes when the whole is
// not what its descriptor says, so that a registry never gets a false blob
// complete.
type checkedReader struct {
	r   io.ReadCloser
	d   Descriptor
	off int64
	sum hash.Hash
}

func (c *checkedReader) Read(p []byte) (int, error) {
	left := c.d.Size - c.off
	if left == 0 {
		return 0, c.end()
	}
	n, err := c.r.Read(p[:min(int64(len(p)), left)])
	c.off += int64(n)
	c.sum.Write(p[:n])
	switch {
	case c.off == c.d.Size:
		if err := c.end(); err != io.EOF {
			return 0, err
		}
		return n, nil
	case err == io.EOF:
		return 0, c.corrupt(fmt.Errorf("only %d of %d bytes are there", c.off, c.d.Size))
	case err != nil:
		return 0, &localError{err}
	}
	return n, nil
}

// end returns io.EOF if all is well.
func (c *checkedReader) end() error {
	if got := digest.NewDigest(c.d.Digest.Algorithm(), c.sum); got != c.d.Digest {
		return c.corrupt(fmt.Errorf("what is stored has digest %s", got))
	}
	var one [1]byte
	if n, _ := c.r.Read(one[:]); n > 0 {
		return c.corrupt(fmt.Errorf("more than %d bytes are there", c.d.Size))
	}
	return io.EOF
}

func (c *checkedReader) corrupt(err error) error {
	return &localError{&Error{Op: "read blob", Object: c.d.Digest.String(), Kind: ErrCorrupt, Err: err, Advice: "the stored copy is damaged; pull or build the image again"}}
}

func (c *checkedReader) Close() error { return c.r.Close() }
