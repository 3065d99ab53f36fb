package registry

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"virga/image"
)

// Blob streams a blob of ref's repository. The reader returns the bytes as
// they come, resumes after a broken connection, and at the end fails with
// ErrCorrupt instead of io.EOF unless their number and digest are those of
// desc: what was read is to be believed only after io.EOF. Close it.
func (c *Client) Blob(ctx context.Context, ref image.Reference, desc Descriptor) (io.ReadCloser, error) {
	return c.blob(ctx, ref, desc)
}

func (c *Client) blob(ctx context.Context, ref image.Reference, desc Descriptor) (*blobReader, error) {
	if err := desc.Digest.Validate(); err != nil || desc.Size < 0 {
		return nil, &Error{Op: "fetch blob", Object: strconv.Quote(desc.Digest.String()), Kind: ErrProtocol, Err: fmt.Errorf("digest or size %d is malformed", desc.Size)}
	}
	var b *blobReader
	err := c.each(ctx, ref, func(r *repository) error {
		b = &blobReader{ctx: ctx, repo: r, desc: desc, sum: desc.Digest.Algorithm().Hash()}
		return b.open()
	})
	if err != nil {
		return nil, err
	}
	if p := c.opts.Progress; p != nil {
		p.Start(desc.Digest, desc.Size)
	}
	return b, nil
}

// blobReader is a verified stream. A context is kept because io.Reader has no
// room for one; it ends with the reader.
type blobReader struct {
	ctx      context.Context
	repo     *repository
	desc     Descriptor
	body     io.ReadCloser
	off      int64 // bytes given to the caller
	sum      hash.Hash
	failures int   // in a row without progress worth the name
	mark     int64 // off at the first of them
	whole    bool  // the registry refuses ranges
	err      error // sticky; io.EOF once verified
}

// progressWorth ends a row of failures: a connection that breaks every few
// megabytes still gets there, one that yields a byte at a time does not.
const progressWorth = 1 << 20

func (b *blobReader) call() call {
	c := call{
		op: "fetch blob", object: b.desc.Digest.String(), method: http.MethodGet,
		url: "/v2/" + b.repo.path + "/blobs/" + b.desc.Digest.String(), scope: scope{repo: b.repo.path},
		header: http.Header{"Accept-Encoding": {"identity"}}, ok: []int{http.StatusOK},
	}
	if b.off > 0 && !b.whole {
		c.header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.off, b.desc.Size-1))
		c.ok = append(c.ok, http.StatusPartialContent)
	}
	return c
}

func (b *blobReader) fail(kind error, advice, format string, a ...any) error {
	return &Error{Op: "fetch blob", Object: b.desc.Digest.String(), Kind: kind, Err: fmt.Errorf(format, a...), Advice: advice}
}

// open requests what is not yet read.
func (b *blobReader) open() error {
	c := b.call()
	resp, err := b.repo.s.do(b.ctx, c)
	if c.header.Get("Range") != "" && refusesMethod(err) {
		b.whole = true
		return b.open()
	}
	if err != nil {
		return err
	}
	if err := b.accept(resp); err != nil {
		_ = resp.Body.Close()
		return err
	}
	b.body = resp.Body
	return nil
}

// accept checks the head of an answer and skips what was read before if the
// registry sends everything again.
func (b *blobReader) accept(resp *http.Response) error {
	left := b.desc.Size - b.off
	if resp.StatusCode == http.StatusPartialContent {
		first, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || first != b.off || total >= 0 && total != b.desc.Size {
			return b.fail(ErrProtocol, "", "asked for bytes from %d of %d, the registry sends %q", b.off, b.desc.Size, oneLine(resp.Header.Get("Content-Range")))
		}
	} else {
		left = b.desc.Size
	}
	if n := resp.ContentLength; n >= 0 && n != left {
		if isHTML(resp) {
			return b.fail(ErrProtocol, "is there a proxy or a login page between?", "the registry answers with a web page")
		}
		return b.fail(ErrCorrupt, hintCorrupt, "the registry sends %d bytes, the manifest says %d", n, left)
	}
	if b.off == 0 || resp.StatusCode == http.StatusPartialContent {
		return nil
	}
	if _, err := io.CopyN(io.Discard, resp.Body, b.off); err != nil {
		return fmt.Errorf("skip to byte %d: %w", b.off, err)
	}
	return nil
}

// contentRange reads "bytes FIRST-LAST/TOTAL" (RFC 9110 section 14.4); total
// is -1 for "*".
func contentRange(h string) (first, total int64, ok bool) {
	h, ok = strings.CutPrefix(h, "bytes ")
	span, size, ok2 := strings.Cut(h, "/")
	from, _, ok3 := strings.Cut(span, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil {
		return 0, 0, false
	}
	if size == "*" {
		return first, -1, true
	}
	total, err = strconv.ParseInt(size, 10, 64)
	return first, total, err == nil
}

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	for b.err == nil {
		left := b.desc.Size - b.off
		if left == 0 {
			b.err = b.verify()
			break
		}
		n, err := b.body.Read(p[:min(int64(len(p)), left)])
		b.sum.Write(p[:n])
		b.off += int64(n)
		if pr := b.repo.s.client.opts.Progress; pr != nil && n > 0 {
			pr.Advance(b.desc.Digest, int64(n))
		}
		if err != nil && b.off < b.desc.Size {
			b.resume(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, b.err
}

func (b *blobReader) verify() error {
	if got := digest.NewDigest(b.desc.Digest.Algorithm(), b.sum); got != b.desc.Digest {
		return b.fail(ErrCorrupt, hintCorrupt, "what was received has digest %s", got)
	}
	return io.EOF
}

// resume opens the rest of the blob after cause broke the stream, or sets
// b.err.
func (b *blobReader) resume(cause error) {
	_ = b.body.Close()
	s := b.repo.s
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	for {
		if b.off-b.mark >= progressWorth {
			b.failures = 0
		}
		if b.failures == 0 {
			b.mark = b.off
		}
		b.failures++
		if b.ctx.Err() != nil || !temporary(cause) || b.failures >= s.client.opts.Retry.Attempts {
			b.err = s.failure(b.ctx, b.call(), cause)
			return
		}
		s.client.log.Debug("resume", "blob", b.desc.Digest, "from", b.off, "attempt", b.failures, "cause", cause)
		if err := sleep(b.ctx, s.client.backoff(b.failures)); err != nil {
			b.err = s.failure(b.ctx, b.call(), err)
			return
		}
		if cause = b.open(); cause == nil {
			return
		}
	}
}

// Close ends the transfer.
func (b *blobReader) Close() error {
	err := b.body.Close()
	if p := b.repo.s.client.opts.Progress; p != nil {
		switch b.err {
		case io.EOF:
			p.Finish(b.desc.Digest, nil)
		case nil:
			p.Finish(b.desc.Digest, context.Canceled)
		default:
			p.Finish(b.desc.Digest, b.err)
		}
	}
	return err
}

// Fetch streams blobs, several at once, into sink, which is called
// concurrently; it returns the first error. What sink leaves unread is read
// for it, so that a blob is verified when Fetch returns nil. A blob named
// twice is fetched once.
func (c *Client) Fetch(ctx context.Context, ref image.Reference, descs []Descriptor, sink func(ctx context.Context, desc Descriptor, r io.Reader) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.opts.MaxParallel)
	seen := make(map[digest.Digest]bool)
	for _, d := range descs {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b, err := c.blob(ctx, ref, d)
			if err != nil {
				return err
			}
			defer b.Close()
			err = sink(ctx, d, b)
			if b.err != nil && b.err != io.EOF {
				return b.err // sink saw no more than that
			}
			if err == nil {
				_, err = io.Copy(io.Discard, b)
			}
			return err
		})
	}
	return g.Wait()
}
