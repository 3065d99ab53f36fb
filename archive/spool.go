package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
)

// maxTrailer bounds what may follow the end of a tar: programs fill up their
// last record, with 10 kB if they are not told otherwise.
const maxTrailer = 64 << 20

// Spool copies a tar that can be read only once to w, for Open. What is no
// tar, or ends early, is found out on the way.
func Spool(ctx context.Context, w io.Writer, r io.Reader) error {
	t := io.TeeReader(&interruptible{ctx, r}, w)
	tr := tar.NewReader(t)
	for n := 0; ; n++ {
		_, err := tr.Next()
		if err == io.EOF {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return tarError(err, n)
		}
		if n == maxMembers {
			return fmt.Errorf("%w: more than %d members", ErrNotImage, maxMembers)
		}
	}
	// To the end, so that a checksum there is compared.
	n, err := io.Copy(io.Discard, io.LimitReader(t, maxTrailer+1))
	if err == nil && n > maxTrailer {
		err = fmt.Errorf("more than %d bytes follow the end of the tar", maxTrailer)
	}
	return err
}

// interruptible is a reader that ends with its context. It lives for one copy.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
