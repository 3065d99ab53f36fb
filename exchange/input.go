package exchange

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"virga/archive"
	"virga/layer"
	"virga/storage"
)

// errSquash is archive.ErrNotImage, of a SquashFS file.
var errSquash = &hintedError{
	what: "it is a root file system in a SquashFS file", hint: "virga import PATH REF makes an image of it", is: archive.ErrNotImage,
}

// imageFile is an open file or directory of images.
type imageFile struct {
	*archive.File
	tar *os.File    // what the archive is read from; nil: a directory
	was os.FileInfo // of tar, before it was read
	// sum is the digest of the file that tar is an uncompressed copy of, if it
	// was asked for. It is "" where tar is the file itself.
	sum digest.Digest
}

// openImages opens a file or directory of images. What cannot be read in any
// order, because it is compressed or a pipe, is copied to work first, and with
// sum its digest is computed.
func openImages(ctx context.Context, work *storage.Work, path string, sum bool) (*imageFile, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	if fi.IsDir() {
		f, err := archive.OpenDir(path)
		if err != nil {
			return nil, err
		}
		return &imageFile{File: f}, nil
	}
	if archive.IsSquash(path) {
		return nil, errSquash
	}
	in, err := openInput(path)
	if err != nil {
		return nil, err
	}
	out := &imageFile{}
	if out.tar, out.sum, err = spooled(ctx, work, in, sum); err != nil {
		in.Close()
		return nil, err
	}
	if out.was, err = out.tar.Stat(); err == nil {
		out.File, err = archive.Open(out.tar, out.was.Size())
	}
	if err != nil {
		out.tar.Close()
		return nil, err
	}
	return out, nil
}

func (f *imageFile) close() {
	f.Close()
	if f.tar != nil {
		f.tar.Close()
	}
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
// closes in then. With sum it returns the digest of what was copied.
func spooled(ctx context.Context, work *storage.Work, in *os.File, sum bool) (*os.File, digest.Digest, error) {
	fi, err := in.Stat()
	if err != nil {
		return nil, "", err
	}
	if fi.Mode().IsRegular() {
		c, err := compressionOf(in)
		if err != nil {
			return nil, "", err
		}
		if c == layer.Uncompressed {
			return in, "", nil
		}
	}
	out, err := os.OpenFile(filepath.Join(work.Path(), "archive"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, "", err
	}
	var r io.Reader = in
	whole := digest.SHA256.Digester()
	if sum {
		r = io.TeeReader(in, whole.Hash())
	}
	err = spool(ctx, out, in, r)
	if err == nil && sum { // what follows the compressed data is of the file, too
		_, err = io.Copy(io.Discard, &cancelable{ctx, r})
	}
	if err != nil {
		out.Close()
		return nil, "", err
	}
	if !sum {
		return out, "", in.Close()
	}
	return out, whole.Digest(), in.Close()
}

func compressionOf(f *os.File) (layer.Compression, error) {
	zr, c, err := layer.Decompress(io.NewSectionReader(f, 0, 1<<16))
	if err != nil {
		return c, err
	}
	return c, zr.Close()
}

// spool copies what r reads from in.
func spool(ctx context.Context, out io.Writer, in *os.File, r io.Reader) error {
	defer context.AfterFunc(ctx, func() { in.Close() })() // wakes up a reader
	br := bufio.NewReader(r)
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
