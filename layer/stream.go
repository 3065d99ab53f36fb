package layer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"virga/layer/inflate"
)

const (
	// chunkSize is the unit in which uncompressed bytes travel between goroutines.
	chunkSize = inflate.BufferSize
	// aheadChunks bounds what one layer may hold before its turn: 12 MiB.
	aheadChunks = 48
	// maxStreams bounds the layers that are decompressed at once.
	maxStreams = 4
)

// DiffIDError says that the uncompressed bytes of a layer are not those that
// the image's configuration names.
type DiffIDError struct{ Want, Got digest.Digest }

func (e *DiffIDError) Error() string {
	return fmt.Sprintf("diff ID is %s, not %s as the image says", e.Got, e.Want)
}

// stream is the uncompressed bytes of one layer, made by two goroutines ahead of their
// reader: one decompresses, one computes the digest.
type stream struct {
	cancel context.CancelFunc
	made   chan chunk // decompressed
	hashed chan chunk // and digested
	gone   sync.WaitGroup
	free   *sync.Pool
	with   decoders
	turn   <-chan struct{} // says when the stream may take much memory; nil if it may from the start
	large  bool            // it has heard so from turn
	verify bool            // compare Blob.Digest

	cur  chunk
	rest []byte
	err  error
	sum  hash.Hash
	size int64

	stopped error // why hashed was closed before its last chunk
}

// chunk is a piece of a stream. The last one has err set, io.EOF at the end.
type chunk struct {
	buf  *[]byte
	data []byte // part of buf
	err  error
}

// startStream starts the goroutines of a stream, which is ahead of its turn if
// that is not nil.
func startStream(ctx context.Context, b Blob, p Progress, free *sync.Pool, turn <-chan struct{}) *stream {
	s := newStream(free, turn)
	s.start(ctx, b, p)
	return s
}

func newStream(free *sync.Pool, turn <-chan struct{}) *stream {
	s := &stream{
		made:   make(chan chunk, 2),
		hashed: make(chan chunk, aheadChunks),
		free:   free,
		turn:   turn,
		sum:    sha256.New(),
		with:   newDecoders(),
	}
	if turn != nil {
		s.with.window = aheadZstdWindow
	}
	return s
}

func (s *stream) start(ctx context.Context, b Blob, p Progress) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.gone.Add(2)
	go func() {
		defer s.gone.Done()
		if err := s.inflate(ctx, b, p); err != nil {
			s.send(ctx, s.made, chunk{err: err})
		}
	}()
	go func() {
		defer s.gone.Done()
		s.digest(ctx)
	}()
}

func (s *stream) send(ctx context.Context, c chan<- chunk, v chunk) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// inflate sends the uncompressed bytes of a blob. It never returns nil. When our
// gzip decoder finds fault with the data, the other one has the last word. What
// takes more memory than a layer may have ahead of its turn waits for that.
func (s *stream) inflate(ctx context.Context, b Blob, p Progress) error {
	d := s.with
	sent, err := s.decompress(ctx, b, p, d, 0)
	if d.window < maxZstdWindow && errors.Is(err, zstd.ErrWindowSizeExceeded) {
		select {
		case <-s.turn:
			s.large = true
		case <-ctx.Done():
			return ctx.Err()
		}
		d.window = maxZstdWindow
		_, err = s.decompress(ctx, b, nil, d, sent)
	}
	if errors.Is(err, inflate.ErrCorrupt) || errors.Is(err, inflate.ErrChecksum) {
		d.gzip = newSlowGzip
		_, again := s.decompress(ctx, b, nil, d, sent)
		if !errors.Is(again, errReadOnce) {
			return again
		}
	}
	return err
}

// errReadOnce is what Blob.Open of a blob that is gone returns.
var errReadOnce = errors.New("BUG: this input can be read only once")

// decompress sends the uncompressed bytes of a blob, but for the first ones.
// It returns how many it has sent, and an error that is never nil.
func (s *stream) decompress(ctx context.Context, b Blob, p Progress, d decoders, skip int64) (sent int64, err error) {
	rc, err := b.Open(ctx)
	if err != nil {
		return 0, err
	}
	var once sync.Once
	closeBlob := func() { once.Do(func() { rc.Close() }) }
	defer closeBlob()
	// A reader that does not mind its context is woken by closing it.
	defer context.AfterFunc(ctx, closeBlob)()
	var r io.Reader = rc
	if p != nil {
		r = &counted{rc, b.Digest, p}
	}
	var raw hash.Hash
	if s.verify && b.Digest != "" && b.Digest != b.DiffID {
		raw = sha256.New()
		r = io.TeeReader(r, raw)
	}
	zr, _, err := decompress(r, d)
	if err != nil {
		return 0, err
	}
	defer zr.Close()
	if _, err := io.CopyN(io.Discard, zr, skip); err != nil {
		return 0, err
	}
	for {
		buf := s.free.Get().(*[]byte)
		data, err := fill(zr, *buf)
		if len(data) > 0 {
			if e := s.send(ctx, s.made, chunk{buf: buf, data: data}); e != nil {
				return sent, e
			}
			sent += int64(len(data))
		}
		if err == io.EOF && raw != nil {
			err = sameBytes(r, raw, b.Digest)
		}
		if err != nil {
			return sent, err
		}
	}
}

// sameBytes returns io.EOF if raw, when r has been read to its end, is want.
func sameBytes(r io.Reader, raw hash.Hash, want digest.Digest) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if got := digest.NewDigest(digest.SHA256, raw); got != want {
		return fmt.Errorf("its bytes have digest %s", got)
	}
	return io.EOF
}

// digest passes the bytes on. When it returns, the reader is told by the last
// chunk, or by stopped and a closed channel.
func (s *stream) digest(ctx context.Context) {
	defer close(s.hashed)
	for {
		select {
		case c := <-s.made:
			if c.buf != nil {
				s.sum.Write(c.data)
				s.size += int64(len(c.data))
			}
			if s.stopped = s.send(ctx, s.hashed, c); s.stopped != nil || c.err != nil {
				return
			}
		case <-ctx.Done():
			s.stopped = ctx.Err()
			return
		}
	}
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) next() error {
	if s.err != nil {
		return s.err
	}
	if s.cur.buf != nil {
		s.free.Put(s.cur.buf)
	}
	var ok bool
	if s.cur, ok = <-s.hashed; !ok {
		s.cur.err = s.stopped
	}
	s.err = s.cur.err
	s.rest = s.cur.data
	return s.err
}

// finish reads what follows the archive's end and returns digest and size of
// the whole stream.
func (s *stream) finish() (digest.Digest, int64, error) {
	s.rest = nil
	for s.err == nil {
		s.next()
	}
	if s.err != io.EOF {
		return "", 0, s.err
	}
	return digest.NewDigest(digest.SHA256, s.sum), s.size, nil
}

// close ends the goroutines; the stream may be read no more.
func (s *stream) close() {
	s.cancel()
	s.gone.Wait()
}

type counted struct {
	r     io.Reader
	layer digest.Digest
	p     Progress
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.p.Unpacked(c.layer, int64(n))
	}
	return n, err
}

// ahead starts the streams of layers in order, a few before their turn.
type ahead struct {
	blobs    []Blob
	progress Progress
	open     []*stream
	turns    []chan struct{} // of open
	free     *sync.Pool
	depth    int
}

// newChunks returns a store of buffers for chunks.
func newChunks() *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}
}

// streams is how many layers are decompressed at once.
func streams() int { return min(max(runtime.GOMAXPROCS(0), 2), maxStreams) }

func newAhead(blobs []Blob, p Progress) *ahead {
	return &ahead{
		blobs:    blobs,
		progress: p,
		depth:    streams(),
		free:     newChunks(),
	}
}

// next returns the next layer's stream and starts its followers. The caller closes it.
func (a *ahead) next(ctx context.Context) *stream {
	for len(a.open) < a.depth && len(a.blobs) > 0 {
		turn := make(chan struct{})
		a.open = append(a.open, startStream(ctx, a.blobs[0], a.progress, a.free, turn))
		a.turns = append(a.turns, turn)
		a.blobs = a.blobs[1:]
	}
	if len(a.open) == 0 {
		panic(errors.New("BUG: more layers read than there are"))
	}
	s := a.open[0]
	close(a.turns[0])
	a.open, a.turns = a.open[1:], a.turns[1:]
	return s
}

// close ends the streams that were not taken.
func (a *ahead) close() {
	for _, s := range a.open {
		s.close()
	}
}
