package layer

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// zeros are without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestBound: decompression has an end, which is beyond all that gzip makes.
func TestBound(t *testing.T) {
	const size = 32 << 20
	read := func(c Compression, with func(io.Reader) (io.Reader, error)) (int64, error) {
		var b bytes.Buffer
		zw, err := Compress(&b, c, 9)
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(zw, zeros{}, size)
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := with(&b)
		if err != nil {
			t.Fatal(err)
		}
		return io.Copy(io.Discard, r)
	}
	for _, c := range []Compression{Gzip, Zstd} {
		for _, open := range []gzipDecoder{newFastGzip, newSlowGzip} {
			n, err := read(c, func(r io.Reader) (io.Reader, error) {
				d := newDecoders()
				d.gzip, d.free = open, 1<<20
				zr, _, err := decompress(r, d)
				return zr, err
			})
			var bomb *BombError
			switch {
			case c == Gzip && (err != nil || n != size):
				t.Errorf("zeros, %v: %d bytes, %v", c, n, err)
			case c == Zstd && (!errors.As(err, &bomb) || n > size/2):
				t.Errorf("zeros, %v: %d bytes, %v", c, n, err)
			}
		}
		if n, err := read(c, func(r io.Reader) (io.Reader, error) { zr, _, err := Decompress(r); return zr, err }); n != size || err != nil {
			t.Errorf("zeros below the bound, %v: %d bytes, %v", c, n, err)
		}
	}
}

// TestBoundOfLayer: a layer that is a bomb is an error while it is unpacked.
func TestBoundOfLayer(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd} {
		var b bytes.Buffer
		zw, err := Compress(&b, c, 9)
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(zw, zeros{}, 32<<20)
		zw.Close()
		s := &stream{made: make(chan chunk, 200), free: newChunks(), with: newDecoders()}
		s.with.free = 1 << 20
		err = s.inflate(t.Context(), blob(b.Bytes()), nil)
		if bomb := (*BombError)(nil); errors.As(err, &bomb) != (c == Zstd) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestBounded(t *testing.T) {
	r := Bounded(zeros{}, 4<<20).(*bounded)
	r.free = 1 << 20
	n, err := io.Copy(io.Discard, io.LimitReader(r, 8<<30))
	if bomb := (*BombError)(nil); !errors.As(err, &bomb) || n>>20 < 4*maxRatio-1 || n>>20 > 4*maxRatio+8 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
