package exchange

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"virga/archive"
	"virga/layer"
	"virga/storage"
)

// errSquash is archive.ErrNotImage, of a SquashFS file.
var errSquash = &hintedError{
	what: "it is a root file system in a SquashFS file", hint: "virga import PATH REF makes an image of it", is: archive.ErrNotImage,
}

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
	if archive.IsSquash(path) {
		return nil, nil, errSquash
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
	br := bufio.NewReader(in)
	head, err := br.Peek(4)
	if len(head) == 0 && err == io.EOF {
		return errors.New("nothing in it")
	}
	if string(head) == archive.SquashMagic {
		if _, err := io.Copy(out, &cancelable{ctx, br}); err != nil {
			return err
		}
		return errSquash
	}
	zr, _, err := layer.Decompress(br)
	if err != nil {
		return err
	}
	defer zr.Close()
	w := bufio.NewWriterSize(out, 256<<10)
	err = archive.Spool(ctx, w, zr)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return w.Flush()
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
