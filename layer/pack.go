package layer

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// PackOptions says what of a directory goes into a layer.
type PackOptions struct {
	// Whiteouts says that the directory is the upper directory of an overlay
	// mount: devices 0:0 (or files recorded as such) and user.overlay.opaque become whiteouts, and the
	// directory itself is not a member.
	Whiteouts bool
	// MaxTime, if not 0, is the newest modification time in the layer, in
	// seconds since 1970 (SOURCE_DATE_EPOCH): later ones become it.
	MaxTime int64
	// KeepOwners says that owners on disk are real, as Options.KeepOwners makes
	// them. Otherwise what the table does not know is root's.
	KeepOwners bool
	// FlattenOwners makes everything root:root, without set-id bits and
	// capabilities.
	FlattenOwners bool
	Logger        *slog.Logger // nil: silent
}

const (
	// readers is the number of goroutines that read small files ahead.
	readers = 4
	// packAhead bounds the files read ahead, and so their memory.
	packAhead = 32
)

// Pack writes the directory as an uncompressed tar layer. The bytes depend on
// nothing but the names, contents, attributes and hard links in the directory,
// on owners and on opts: not on inode numbers, the order of directories,
// access times, the caller's ids or the number of processors. Sockets are left out.
//
// Modification times are cut to seconds, as Docker, BuildKit and containerd
// do: most headers then need no extension, and layers are the same whatever
// the resolution of the file system.
func Pack(ctx context.Context, w io.Writer, dir string, owners fakeroot.Table, opts PackOptions) error {
	if err := pack(ctx, w, dir, owners, opts); err != nil {
		return fmt.Errorf("pack %q: %w", dir, err)
	}
	return nil
}

// DiffID is the digest and size of what Pack would write.
func DiffID(ctx context.Context, dir string, owners fakeroot.Table, opts PackOptions) (digest.Digest, int64, error) {
	h := sha256.New()
	w := startHasher(h)
	err := Pack(ctx, w, dir, owners, opts)
	w.Close()
	if err != nil {
		return "", 0, err
	}
	return digest.NewDigest(digest.SHA256, h), w.size, nil
}

func pack(ctx context.Context, w io.Writer, dir string, owners fakeroot.Table, opts PackOptions) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	root := newHandle(fd, ".")
	defer root.drop()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	p := newPacker(owners, opts)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(p.files)
		defer close(p.items)
		return p.walk(ctx, root)
	})
	for range readers {
		g.Go(func() error {
			for it := range p.files {
				it.err = p.load(it)
				close(it.ready)
			}
			return nil
		})
	}
	g.Go(func() error { return p.write(ctx, w) })
	err = g.Wait()
	for it := range p.items { // what an error left
		p.release(it)
	}
	return err
}

// write writes the items as they come, in the walk's order.
func (p *packer) write(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	for it := range p.items {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := p.writeItem(ctx, tw, it)
		p.release(it)
		if err != nil {
			return failed("write", it.head.Name, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return tw.Close()
}

func (p *packer) writeItem(ctx context.Context, tw *tar.Writer, it *item) error {
	if it.dir == nil {
		return tw.WriteHeader(it.head)
	}
	if it.ready == nil {
		return p.writeLarge(ctx, tw, it)
	}
	<-it.ready
	if it.err != nil {
		return it.err
	}
	if err := tw.WriteHeader(it.head); err != nil {
		return err
	}
	_, err := tw.Write(it.data)
	return err
}

// writeLarge copies a file that is not worth holding in memory.
func (p *packer) writeLarge(ctx context.Context, tw *tar.Writer, it *item) error {
	fd, err := p.open(it)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := tw.WriteHeader(it.head); err != nil {
		return err
	}
	buf := p.bufs.get(smallFile)
	defer p.bufs.put(buf)
	r := &interruptible{ctx, fileReader(fd, it.head.Size)}
	n, err := io.CopyBuffer(onlyWriter{tw}, onlyReader{r}, *buf)
	if err == nil && n < it.head.Size {
		err = errChanged
	}
	if errors.Is(err, tar.ErrWriteTooLong) {
		err = errChanged
	}
	return err
}

// onlyWriter and onlyReader hide methods that would make io.CopyBuffer ignore
// its buffer.
type onlyWriter struct{ io.Writer }
type onlyReader struct{ io.Reader }

// hasher is a writer that computes a digest in the background.
type hasher struct {
	h    io.Writer
	buf  []byte
	full chan []byte
	free chan []byte
	done chan struct{}
	size int64
}

func startHasher(h io.Writer) *hasher {
	const buffers = 3
	w := &hasher{
		h:    h,
		full: make(chan []byte, buffers),
		free: make(chan []byte, buffers),
		done: make(chan struct{}),
	}
	for range buffers {
		w.free <- make([]byte, 0, chunkSize)
	}
	go func() {
		defer close(w.done)
		for b := range w.full {
			h.Write(b)
			w.free <- b[:0]
		}
	}()
	return w
}

func (w *hasher) Write(p []byte) (int, error) {
	n := len(p)
	w.size += int64(n)
	for len(p) > 0 {
		if w.buf == nil {
			w.buf = <-w.free
		}
		m := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:m]...)
		p = p[m:]
		if len(w.buf) == cap(w.buf) {
			w.full <- w.buf
			w.buf = nil
		}
	}
	return n, nil
}

// Close returns when all is digested.
func (w *hasher) Close() {
	if w.buf != nil {
		w.full <- w.buf
	}
	close(w.full)
	<-w.done
}
