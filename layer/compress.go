package layer

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/ulikunitz/xz"

	"virga/layer/inflate"
)

// Compression is a way to store a layer.
type Compression int

// The compressions of layers. Bzip2 and Xz can only be read.
const (
	Uncompressed Compression = iota
	Gzip
	Zstd
	Bzip2
	Xz
)

func (c Compression) String() string {
	switch c {
	case Uncompressed:
		return "none"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case Bzip2:
		return "bzip2"
	case Xz:
		return "xz"
	}
	return fmt.Sprintf("Compression(%d)", int(c))
}

const (
	defaultGzipLevel = 6
	defaultZstdLevel = 3
	// gzipBlock is what one processor compresses at a time. It shapes the output,
	// so it must not depend on the machine.
	gzipBlock = 1 << 20
	// gzipBlocks in flight: enough for any machine's processors, in bounded memory.
	gzipBlocks = 16
	// maxZstdWindow is what zstd(1) accepts by default (--long=27).
	maxZstdWindow = 128 << 20
	// aheadZstdWindow is what a layer may take that is decompressed ahead of its
	// turn, several of them at once. RFC 8878, section 3.1.1.1.2, asks decoders
	// for as much; zstd(1) needs more from level 20 on.
	aheadZstdWindow = 8 << 20
	inputBuffer     = 256 << 10
)

// Compress returns a writer that compresses to w with all processors. The
// bytes depend on the input and the level alone. Close ends the stream, not w.
// A level of 0 is the default one: 6 for gzip, 3 for zstd.
func Compress(w io.Writer, c Compression, level int) (io.WriteCloser, error) {
	switch c {
	case Uncompressed:
		return nopCloser{w}, nil
	case Gzip:
		if level == 0 {
			level = defaultGzipLevel
		}
		zw, err := pgzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, fmt.Errorf("compress: gzip level %d: %w", level, err)
		}
		if err := zw.SetConcurrency(gzipBlock, gzipBlocks); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		return zw, nil
	case Zstd:
		if level == 0 {
			level = defaultZstdLevel
		}
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
	}
	return nil, fmt.Errorf("compress: %v can only be read", c)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// magics are the first bytes of compressed streams: RFC 1952 section 2.3.1, RFC 8878
// section 3.1.1 (a frame, or the skippable frame that zstd:chunked may begin
// with), bzip2's "BZh", the xz file format section 2.1.1.1.
var magics = []struct {
	prefix string
	c      Compression
}{
	{"\x1f\x8b", Gzip},
	{"\x28\xb5\x2f\xfd", Zstd},
	{"\x50\x2a\x4d\x18", Zstd},
	{"BZh", Bzip2},
	{"\xfd7zXZ\x00", Xz},
}

func detect(head []byte) Compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			return m.c
		}
	}
	return Uncompressed
}

// Decompress returns the uncompressed bytes of r, whose compression it tells
// by the first bytes. Bytes that are none of gzip, zstd, bzip2 and xz are
// returned as they are. What follows the last gzip member is ignored, as gzip(1) does.
// Closing the result does not close r.
//
// Reading ends with an error when the result is larger than maxRatio times what was
// read of r and larger than freeBytes.
func Decompress(r io.Reader) (io.ReadCloser, Compression, error) {
	return decompress(r, newDecoders())
}

// decoders says how to decompress: with which decoder of gzip, how much
// memory for the window of zstd, and what may come of next to nothing.
type decoders struct {
	gzip   gzipDecoder
	window uint64
	free   int64
}

func newDecoders() decoders {
	return decoders{gzip: newFastGzip, window: maxZstdWindow, free: freeBytes}
}

const (
	// maxRatio is more than deflate can reach, which is 1032. Whatever gzip made
	// can be read.
	maxRatio = 1100
	// freeBytes may come of any input. zstd, xz and bzip2 make sparse files much
	// smaller than gzip.
	freeBytes = 4 << 30
)

// BombError says that data decompress to more than those of images do.
type BombError struct{ Packed, Bytes int64 }

func (e *BombError) Error() string {
	return fmt.Sprintf("%d bytes decompress to more than %d: no image is like that", e.Packed, e.Bytes)
}

// decompress is Decompress with a choice of decoders.
func decompress(r io.Reader, d decoders) (io.ReadCloser, Compression, error) {
	raw := &meter{r: r}
	br := bufio.NewReaderSize(raw, inputBuffer)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, Uncompressed, err
	}
	c := detect(head)
	zr, err := decompressor(br, c, d)
	if err != nil {
		return nil, c, fmt.Errorf("%v: %w", c, truncated(err))
	}
	if c != Uncompressed {
		zr = &named{ReadCloser: zr, bound: bound{raw: raw, free: d.free}, c: c}
	}
	return zr, c, nil
}

// gzipDecoder opens the members of a gzip file. There are two: ours, and a
// slower one to ask when ours finds fault with the data.
type gzipDecoder func(br *bufio.Reader) (io.ReadCloser, error)

func newFastGzip(br *bufio.Reader) (io.ReadCloser, error) {
	zr, err := inflate.NewReader(br)
	if err != nil {
		return nil, err
	}
	return fastGzip{zr}, nil
}

type fastGzip struct{ *inflate.Reader }

func (fastGzip) Close() error { return nil }

func decompressor(br *bufio.Reader, c Compression, d decoders) (io.ReadCloser, error) {
	switch c {
	case Gzip:
		return d.gzip(br)
	case Zstd:
		opts := []zstd.DOption{zstd.WithDecoderMaxWindow(d.window), zstd.WithDecoderLowmem(true)}
		if runtime.GOMAXPROCS(0) <= 2 { // both have enough to do; handing blocks on would cost a twentieth
			opts = append(opts, zstd.WithDecoderConcurrency(1))
		}
		zr, err := zstd.NewReader(br, opts...)
		if err != nil {
			return nil, err
		}
		return zr.IOReadCloser(), nil
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(br)), nil
	case Xz:
		zr, err := xz.ReaderConfig{DictCap: maxZstdWindow}.NewReader(br)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(zr), nil
	}
	return io.NopCloser(br), nil
}

// meter counts what is read.
type meter struct {
	r io.Reader
	n atomic.Int64 // zstd reads ahead in a goroutine
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n.Add(int64(n))
	return n, err
}

// bound ends the reading of bombs.
type bound struct {
	raw  *meter
	n    int64 // bytes that came out
	free int64
}

func (b *bound) count(m int) error {
	b.n += int64(m)
	if raw := b.raw.n.Load(); b.n > b.free && b.n/maxRatio > raw {
		return &BombError{Packed: raw, Bytes: b.n}
	}
	return nil
}

// Bounded is r, the content of a file of size bytes that another program
// decompresses, with the bound that Decompress has.
func Bounded(r io.Reader, size int64) io.Reader {
	b := &bounded{r: r, bound: bound{raw: &meter{}, free: freeBytes}}
	b.raw.n.Store(size)
	return b
}

type bounded struct {
	bound
	r io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if bomb := b.count(n); bomb != nil {
		return n, bomb
	}
	return n, err
}

// named says in errors which decompressor met them.
type named struct {
	io.ReadCloser
	bound
	c Compression
}

func (n *named) Read(p []byte) (int, error) {
	m, err := n.ReadCloser.Read(p)
	return m, n.check(m, err)
}

// check counts m more bytes, and gives the error that came with them its name.
func (n *named) check(m int, err error) error {
	if bomb := n.count(m); bomb != nil {
		return fmt.Errorf("%v: %w", n.c, bomb)
	}
	return n.say(err)
}

func (n *named) say(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return fmt.Errorf("%v: %w", n.c, truncated(err))
}

// fill returns the next bytes of r, in buf, which has the length of a chunk:
// as many as fit without effort, and none with an error.
func fill(r io.Reader, buf []byte) ([]byte, error) {
	if n, ok := r.(*named); ok {
		if gz, ok := n.ReadCloser.(fastGzip); ok {
			data, err := gz.Next(buf)
			return data, n.check(len(data), err)
		}
	}
	n, err := io.ReadFull(r, buf)
	switch {
	case n > 0 && (err == io.EOF || err == io.ErrUnexpectedEOF):
		return buf[:n], nil
	}
	return buf[:n], err
}

var errTruncated = errors.New("compressed data ends early")

// truncated gives an unexpected end of compressed data words of its own, so that it
// is not taken for the end of the archive inside.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return errTruncated
	}
	return err
}

// gzipReader reads the members of a gzip file one after the other, with
// klauspost/compress.
type gzipReader struct {
	br *bufio.Reader
	zr *gzip.Reader
}

func newSlowGzip(br *bufio.Reader) (io.ReadCloser, error) {
	zr, err := gzip.NewReader(br)
	if err != nil {
		return nil, err
	}
	zr.Multistream(false)
	return &gzipReader{br, zr}, nil
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for {
		n, err := g.zr.Read(p)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		head, err := g.br.Peek(2)
		if len(head) < 2 && err != io.EOF {
			return 0, err
		}
		if detect(head) != Gzip {
			if _, err := io.Copy(io.Discard, g.br); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		if err := g.zr.Reset(g.br); err != nil {
			return 0, truncated(err)
		}
		g.zr.Multistream(false)
	}
}

func (g *gzipReader) Close() error { return g.zr.Close() }
