package registry

import (
	"context"
	"io"

	"virga/image"
)

// Blob streams a blob of ref's repository. The reader returns the bytes as
// they come, resumes after a broken connection, and at the end fails with
// ErrCorrupt instead of io.EOF unless their number and digest are those of
// desc: what was read is to be believed only after io.EOF. Close it.
func (c *Client) Blob(ctx context.Context, ref image.Reference, desc Descriptor) (io.ReadCloser, error) {
	panic("BUG: not yet")
}

// Fetch streams blobs, several at once, into sink, which is called
// concurrently and must read each to its end; it returns the first error.
// A blob named twice is fetched once.
func (c *Client) Fetch(ctx context.Context, ref image.Reference, descs []Descriptor, sink func(ctx context.Context, desc Descriptor, r io.Reader) error) error {
	panic("BUG: not yet")
}
