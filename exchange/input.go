package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"virga/archive"
	"virga/layer"
	"virga/storage"
)

const (
	// maxRatio and freeBytes bound decompression: gzip cannot do better, and
	// what xz and zstd make of the zeros in real images is far from it.
	maxRatio  = 1000
	freeBytes = 1 << 30
)

// openImages opens a file or directory of images. What cannot be read in any
// order, because it is compressed or a pipe, is copied to work first.
func openImages(ctx context.Context, work *storage.Work, path string) (_ *archive.File, done func(), err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, nil, cause(err)
	}
	if fi.IsDir() {
		f, err := archive.OpenDir(path)
		if err != nil {
			return nil, nil, err
		}
		return f, func() { f.Close() }, nil
	}
	in, err := openInput(path)
	if err != nil {
		return nil, nil, err
	}
	f, err := spooled(ctx, work, in)
	if err != nil {
		in.Close()
		return nil, nil, err
	}
	done = func() { f.Close() }
	if fi, err = f.Stat(); err != nil {
		done()
		return nil, nil, err
	}
	a, err := archive.Open(f, fi.Size())
	if err != nil {
		done()
		return nil, nil, err
	}
	return a, done, nil
}

// openInput opens a file for reading. A pipe that nobody writes to is empty
// rather than waited for, and one that is slow can be interrupted.
func openInput(path string) (*os.File, error) {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, cause(err)
	}
	return f, nil
}

// spooled returns in if it is a plain tar, else an uncompressed copy, and
// closes in then.
func spooled(ctx context.Context, work *storage.Work, in *os.File) (*os.File, error) {
	fi, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().IsRegular() {
		c, err := compressionOf(in)
		if err != nil {
			return nil, err
		}
		if c == layer.Uncompressed {
			return in, nil
		}
	}
	out, err := os.OpenFile(filepath.Join(work.Path(), "archive"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := spool(ctx, out, in); err != nil {
		out.Close()
		return nil, err
	}
	return out, in.Close()
}

func compressionOf(f *os.File) (layer.Compression, error) {
	zr, c, err := layer.Decompress(io.NewSectionReader(f, 0, 1<<16))
	if err != nil {
		return c, err
	}
	return c, zr.Close()
}

func spool(ctx context.Context, out io.Writer, in *os.File) error {
	defer context.AfterFunc(ctx, func() { in.Close() })() // wakes up a reader
	raw := &meter{r: in}
	br := bufio.NewReader(raw)
	if _, err := br.Peek(1); err == io.EOF {
		return errors.New("nothing in it")
	}
	zr, c, err := layer.Decompress(br)
	if err != nil {
		return err
	}
	defer zr.Close()
	var r io.Reader = zr
	if c != layer.Uncompressed {
		r = &bounded{r: zr, raw: raw}
	}
	w := bufio.NewWriterSize(out, 256<<10)
	err = archive.Spool(ctx, w, r)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

// meter counts what is read.
type meter struct {
	r io.Reader
	n int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	return n, err
}

// bounded ends the reading of what was compressed too well to be an image.
type bounded struct {
	r   io.Reader
	n   int64
	raw *meter
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if b.n > freeBytes && b.n/maxRatio > b.raw.n {
		return n, fmt.Errorf("%d bytes decompress to more than %d: no image is like that", b.raw.n, b.n)
	}
	return n, err
}

// cancelable is a reader that ends with its context. It lives for one copy.
type cancelable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
