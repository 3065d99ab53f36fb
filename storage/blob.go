package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// maxRead bounds ReadBlob: manifests and configurations. Registries refuse
// manifests above 4 MiB (distribution-spec 1.1, "Pushing Manifests").
const maxRead = 32 << 20

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: not sha256: and 64 hexadecimal digits", string(d))
	}
	return nil
}

func (s *Store) blobPath(d digest.Digest) string { return s.path(blobsDir, d.Encoded()) }

// PutBlob stores what r yields as the blob d of size bytes (-1: unknown) and
// pins it. Unless r yields exactly that, nothing is stored and the error is a
// *CorruptError, or r's own. Several writers of one blob do no harm. A blob
// that is there already is left as it is and r is not read.
func (s *Store) PutBlob(ctx context.Context, d digest.Digest, size int64, r io.Reader) error {
	if err := checkDigest(d); err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	if have, err := s.StatBlob(d); err == nil && (size < 0 || have == size) {
		if err := s.PinBlobs(ctx, d); !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	w, err := s.NewBlob(ctx, d, size, BlobOptions{})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := copyContext(ctx, w, r); err != nil {
		return fmt.Errorf("store blob %s: %w", d, err)
	}
	_, err = w.Commit()
	return err
}

// AddBlob stores data under its digest and pins it.
func (s *Store) AddBlob(ctx context.Context, data []byte) (digest.Digest, error) {
	d := digest.FromBytes(data)
	return d, s.PutBlob(ctx, d, int64(len(data)), bytes.NewReader(data))
}

func copyContext(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// OpenBlob opens a blob for reading. Its bytes are not checked: whoever uses
// them compares the digest and calls DropBlob when it differs. A blob that is
// not there gives a *MissingError.
func (s *Store) OpenBlob(d digest.Digest) (*os.File, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(d))
	return f, missingBlob(d, err)
}

// StatBlob returns a blob's size, or a *MissingError. Compare the size with
// what is expected: after a crash of the machine a blob may be short.
func (s *Store) StatBlob(d digest.Digest) (int64, error) {
	if err := checkDigest(d); err != nil {
		return 0, err
	}
	st, err := os.Stat(s.blobPath(d))
	if err != nil {
		return 0, missingBlob(d, err)
	}
	return st.Size(), nil
}

func missingBlob(d digest.Digest, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &MissingError{Blobs: []digest.Digest{d}}
	}
	return fmt.Errorf("blob %s: %w", d, cause(err))
}

// ReadBlob returns the contents of a small blob (a manifest or configuration,
// at most 32 MiB), verified. A damaged one is dropped and gives a *CorruptError.
func (s *Store) ReadBlob(d digest.Digest) ([]byte, error) {
	n, err := s.StatBlob(d)
	if err != nil {
		return nil, err
	}
	if n > maxRead {
		return nil, fmt.Errorf("blob %s: %d bytes are too many for a manifest or configuration", d, n)
	}
	data, err := os.ReadFile(s.blobPath(d))
	if err != nil {
		return nil, missingBlob(d, err)
	}
	if got := digest.FromBytes(data); got != d {
		err := &CorruptError{Digest: d, Detail: fmt.Sprintf("its %d bytes have digest %s", len(data), got)}
		return nil, errors.Join(err, s.DropBlob(d))
	}
	return data, nil
}

// DropBlob removes a blob that turned out to be damaged, so that it is
// fetched or made again.
func (s *Store) DropBlob(d digest.Digest) error {
	if err := checkDigest(d); err != nil {
		return err
	}
	if err := os.Remove(s.blobPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop blob %s: %w", d, cause(err))
	}
	return nil
}

// BlobOptions are NewBlob's; the zero value works.
type BlobOptions struct {
	// Verified says that whoever writes fails instead of calling Commit
	// unless it has compared the digest itself; only the size is checked then.
	Verified bool
}

// BlobWriter is a blob being written. Others may read it meanwhile. It keeps
// the context of NewBlob, because it lives for one transfer.
type BlobWriter struct {
	ctx   context.Context
	store *Store
	want  digest.Digest // "": whatever it will be
	size  int64         // -1: unknown
	temp  string
	f     *os.File
	sum   digest.Digester // nil: somebody else compares
	begun int64           // bytes that the disk was told to write

	mu     sync.Mutex
	change *sync.Cond
	n      int64 // bytes written
	done   bool  // no more will come
	err    error // why not
}

// writeAhead is how much of a blob is written before the disk is told to
// begin with it.
const writeAhead = 8 << 20

// NewBlob begins a blob of the given digest ("": not known yet) and size (-1:
// not known). Close it.
func (s *Store) NewBlob(ctx context.Context, d digest.Digest, size int64, opts BlobOptions) (*BlobWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d != "" {
		if err := checkDigest(d); err != nil {
			return nil, err
		}
	}
	temp, err := s.tempName("blob")
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, modePending)
	if err != nil {
		return nil, fmt.Errorf("store blob %s: %w", d, cause(err))
	}
	w := &BlobWriter{ctx: ctx, store: s, want: d, size: size, temp: temp, f: f}
	w.change = sync.NewCond(&w.mu)
	if d == "" || !opts.Verified {
		w.sum = digest.SHA256.Digester()
	}
	return w, nil
}

// Write implements io.Writer. It is for one goroutine.
func (w *BlobWriter) Write(p []byte) (int, error) {
	if w.size >= 0 && w.n+int64(len(p)) > w.size {
		return 0, w.corrupt("more than the %d bytes it should have", w.size)
	}
	if w.sum != nil {
		w.sum.Hash().Write(p)
	}
	n, err := w.f.Write(p)
	if at := w.n + int64(n); at-w.begun >= writeAhead {
		// Nothing is waited for: less is left for Sync to write.
		_ = unix.SyncFileRange(int(w.f.Fd()), w.begun, at-w.begun, unix.SYNC_FILE_RANGE_WRITE)
		w.begun = at
	}
	w.mu.Lock()
	w.n += int64(n)
	w.mu.Unlock()
	w.change.Broadcast()
	if err != nil {
		return n, fmt.Errorf("store blob %s: %w", w.want, cause(err))
	}
	return n, nil
}

func (w *BlobWriter) corrupt(format string, a ...any) error {
	return &CorruptError{Digest: w.want, Detail: fmt.Sprintf(format, a...)}
}

// Commit checks size and digest, pins the blob, puts it into place and
// returns its digest. Readers get io.EOF only after it.
func (w *BlobWriter) Commit() (digest.Digest, error) {
	d, err := w.commit()
	w.finish(err)
	return d, err
}

func (w *BlobWriter) commit() (digest.Digest, error) {
	if w.size >= 0 && w.n != w.size {
		return "", w.corrupt("%d bytes instead of %d", w.n, w.size)
	}
	d := w.want
	if w.sum != nil {
		got := w.sum.Digest()
		if d != "" && got != d {
			return "", w.corrupt("what came has digest %s", got)
		}
		d = got
	}
	fail := func(err error) (digest.Digest, error) {
		return "", fmt.Errorf("store blob %s: %w", d, cause(err))
	}
	if err := w.f.Close(); err != nil {
		return fail(err)
	}
	s := w.store
	// Pinned before it is there: Collect sees the pin first.
	switch have, err := s.StatBlob(d); {
	case err == nil && have == w.n:
		if err := s.PinBlobs(w.ctx, d); !errors.Is(err, ErrNotFound) {
			return d, err // w.finish removes our copy
		}
	default:
		if err := s.PinBlobs(w.ctx, d); err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
	}
	// In one step for Reader, which opens the one name or the other.
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := os.Rename(w.temp, s.blobPath(d)); err != nil {
		return fail(err)
	}
	w.done = true
	w.change.Broadcast()
	s.dirty.add(s.blobPath(d), false)
	return d, nil
}

// Fail ends the writing with an error that readers get. nil stands for a
// cancellation. After Commit it does nothing.
func (w *BlobWriter) Fail(err error) {
	if err == nil {
		err = context.Canceled
	}
	w.finish(err)
}

func (w *BlobWriter) finish(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	w.done, w.err = true, err
	w.f.Close()       // closed already when it was committed
	os.Remove(w.temp) // likewise
	w.change.Broadcast()
}

// Close gives up the blob unless it was committed.
func (w *BlobWriter) Close() error {
	w.Fail(nil)
	return nil
}

// Reader returns a reader of the blob from its beginning. It waits for what
// is not written yet, and gives io.EOF after Commit and otherwise the error
// that ended the writing. Any number may read. Close it.
func (w *BlobWriter) Reader() (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	path := w.temp
	if w.done {
		if w.err != nil {
			return nil, w.err
		}
		path = w.store.blobPath(w.want)
		if w.want == "" {
			path = w.store.blobPath(w.sum.Digest())
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", w.want, cause(err))
	}
	return &follower{w: w, f: f}, nil
}

// follower reads a blob while it is written.
type follower struct {
	w   *BlobWriter
	f   *os.File
	off int64
}

// Read implements io.Reader.
func (r *follower) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w := r.w
	w.mu.Lock()
	for r.off == w.n && !w.done {
		w.change.Wait()
	}
	left, done, err := w.n-r.off, w.done, w.err
	w.mu.Unlock()
	if done && err != nil {
		return 0, err
	}
	if left == 0 {
		return 0, io.EOF
	}
	n, err := r.f.ReadAt(p[:min(int64(len(p)), left)], r.off)
	r.off += int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// Close ends the reading.
func (r *follower) Close() error { return r.f.Close() }

// verifyBlob compares a blob of any size with its digest.
func (s *Store) verifyBlob(ctx context.Context, d digest.Digest) error {
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if err := copyContext(ctx, h, f); err != nil {
		return fmt.Errorf("blob %s: %w", d, err)
	}
	if got := digest.NewDigest(digest.SHA256, h); got != d {
		return &CorruptError{Digest: d, Detail: "its bytes have digest " + got.String()}
	}
	return nil
}
