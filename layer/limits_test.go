package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"virga/layer/inflate"
)

// generated is a layer that is made while it is read, once for each time.
func generated(write func(tw *tar.Writer) error) Blob {
	return Blob{Digest: "sha256:generated", Open: func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			tw := tar.NewWriter(w)
			err := write(tw)
			if err == nil {
				err = tw.Close()
			}
			w.CloseWithError(err)
		}()
		return r, nil
	}}
}

// peakHeap runs f and returns the most memory that was in use meanwhile.
func peakHeap(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var peak atomic.Uint64
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-gone
	return peak.Load()
}

// TestUnpackMillion: members without end, of one name after the other or all
// of the same, take no memory that grows with their content, and little that grows with
// their number.
func TestUnpackMillion(t *testing.T) {
	n := 1_000_000
	if os.Getenv("VIRGA_TEST_MILLION") == "" {
		n = 20_000
	}
	dirs := n / 50
	many := func(tw *tar.Writer) error {
		for i := range n {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("d%d/f%d", i%dirs, i), Mode: 0o644, Format: tar.FormatUSTAR}
			if i%20 == 19 {
				h.Name = "again"
			}
			if err := tw.WriteHeader(h); err != nil {
				return err
			}
		}
		return nil
	}
	a := newArena(t)
	base := blob(archive(t, file("x", "")))
	var u *Unpacked
	var err error
	peak := peakHeap(func() {
		u, err = Unpack(t.Context(), a.root, []Blob{base, generated(many)}, Options{})
	})
	if err != nil {
		t.Fatal(err)
	}
	if limit := uint64(60<<20 + 64*n); peak > limit {
		t.Errorf("%d members: %d MiB in use, want %d at most", n, peak>>20, limit>>20)
	}
	t.Logf("%d members: %d MiB", n, peak>>20)
	names, err := os.ReadDir(filepath.Join(a.root, "d1"))
	if err != nil || len(names) == 0 || len(u.Owners) != 0 {
		t.Errorf("%d files (%v), %d owners", len(names), err, len(u.Owners))
	}
}

// TestUnpackBomb: what expands a thousandfold is read in bounded memory: after
// the end of the archive, as the content of a file that ends early, and as a
// layer waiting for its turn.
func TestUnpackBomb(t *testing.T) {
	const size = 128 << 20
	zeros := make([]byte, 1<<20)
	bomb := func(c Compression, first []byte) []byte {
		var b bytes.Buffer
		zw, err := Compress(&b, c, 0)
		if err != nil {
			t.Fatal(err)
		}
		zw.Write(first)
		for range size / len(zeros) {
			zw.Write(zeros)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		if b.Len() > size/400 {
			t.Fatalf("%v: %d bytes are no bomb", c, b.Len())
		}
		return b.Bytes()
	}
	plain := archive(t, file("f", "x"))
	var head bytes.Buffer
	tar.NewWriter(&head).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "huge", Size: 1 << 40, Mode: 0o644})
	for _, c := range []Compression{Gzip, Zstd} {
		after, early := bomb(c, plain), bomb(c, head.Bytes())
		peak := peakHeap(func() {
			u, err := Unpack(t.Context(), newArena(t).root, []Blob{blob(plain), blob(after), blob(after), blob(after), blob(after)}, Options{})
			if err != nil || u.Size != int64(5*len(plain)+4*size) {
				t.Errorf("%v: %v", c, err)
			}
		})
		if peak > 160<<20 {
			t.Errorf("%v: %d MiB in use", c, peak>>20)
		}
		if c == Zstd {
			continue // the bytes inside are the same
		}
		a := newArena(t)
		if _, err := Unpack(t.Context(), a.root, []Blob{blob(early)}, Options{}); err == nil || !strings.Contains(err.Error(), `write "huge": archive ends early`) {
			t.Errorf("%v: a file of 1 TiB: %v", c, err)
		}
	}
}

// TestZstdWindows: layers with large windows are unpacked, one after the other.
func TestZstdWindows(t *testing.T) {
	compress := func(window int, plain []byte) []byte {
		var b bytes.Buffer
		zw, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		zw.Write(plain[:len(plain)/2])
		zw.Flush() // the size is not known in advance
		zw.Write(plain[len(plain)/2:])
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	content := strings.Repeat("0123456789abcdef", 100_000)
	var layers []Blob
	opened := 0
	for i := range 6 {
		plain := archive(t, file("f", fmt.Sprint(i)), file(fmt.Sprintf("g%d", i), content))
		// A frame that could be read ahead, then one that could not.
		b := append(compress(1<<20, plain[:2000]), compress(64<<20, plain[2000:])...)
		l := blob(b)
		l.DiffID = digest.FromBytes(plain)
		open := l.Open
		l.Open = func(ctx context.Context) (io.ReadCloser, error) { opened++; return open(ctx) }
		layers = append(layers, l)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // for opened
	a := newArena(t)
	var err error
	peak := peakHeap(func() { _, err = Unpack(t.Context(), a.root, layers, Options{}) })
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(a.root, "f")); string(got) != "5" {
		t.Errorf("f is %q", got)
	}
	if opened != 2*len(layers) {
		t.Errorf("opened %d times: no layer waited", opened)
	}
	if peak > 190<<20 {
		t.Errorf("%d MiB in use", peak>>20)
	}
	t.Logf("%d MiB", peak>>20)
	too := append([]byte("\x28\xb5\x2f\xfd\x00"), 20<<3) // a window of 1 GiB
	_, err = Unpack(t.Context(), newArena(t).root, []Blob{blob(append(too, make([]byte, 100)...))}, Options{})
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("a window of 1 GiB: %v", err)
	}
}

// faulty is our decoder with a fault: after so many bytes, data are said to be corrupt.
type faulty struct {
	fastGzip
	left int64
}

func (f *faulty) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, inflate.ErrCorrupt
	}
	n, err := f.fastGzip.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// TestFallbackMidStream: wherever our decoder finds fault, the other one adds
// the bytes that are missing, and no others.
func TestFallbackMidStream(t *testing.T) {
	var text bytes.Buffer
	for i := 0; text.Len() < 2<<20; i++ {
		fmt.Fprintf(&text, "%d %x\n", i, i*i*7919)
	}
	plain := text.Bytes()
	z := append(gz(t, plain[:1<<20]), gz(t, plain[1<<20:])...) // two members
	for _, at := range []int64{0, 1, 511, 32 << 10, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 1<<20 - 1, 1 << 20, 1<<20 + 1, int64(len(plain)) - 1, int64(len(plain))} {
		s := &stream{made: make(chan chunk, 100), free: newChunks()}
		s.with = decoders{gzip: func(br *bufio.Reader) (io.ReadCloser, error) {
			zr, err := inflate.NewReader(br)
			return &faulty{fastGzip{zr}, at}, err
		}}
		if err := s.inflate(t.Context(), blob(z), nil); err != io.EOF {
			t.Fatalf("fault after %d bytes: %v", at, err)
		}
		close(s.made)
		var got []byte
		for c := range s.made {
			got = append(got, c.data...)
		}
		if !bytes.Equal(got, plain) {
			t.Errorf("fault after %d bytes: %d bytes, which are not those of the layer", at, len(got))
		}
	}
}

// failing is a reader whose bytes turn bad at an offset.
type failing struct {
	r  io.Reader
	at int64
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.at -= int64(n); f.at < 0 {
		for i := max(0, n+int(f.at)); i < n; i++ {
			p[i] ^= 0x55
		}
	}
	return n, err
}

// TestBadOnce: data that were bad when read first, and are good when read
// again, give the right files or an error, wherever they turn bad.
func TestBadOnce(t *testing.T) {
	var text strings.Builder
	for i := 0; text.Len() < 1<<20; i++ {
		fmt.Fprintf(&text, "%d %x\n", i, i*i*7919)
	}
	content := text.String()
	whole := archive(t, file("f", content), file("g", "after"))
	z := gz(t, whole)
	for i := range 16 {
		at := max(20, int64(len(z))*int64(i)/16)
		reads := 0
		b := Blob{Digest: "sha256:x", DiffID: digest.FromBytes(whole), Open: func(context.Context) (io.ReadCloser, error) {
			if reads++; reads == 1 {
				return io.NopCloser(&failing{bytes.NewReader(z), at}), nil
			}
			return io.NopCloser(bytes.NewReader(z)), nil
		}}
		a := newArena(t)
		_, err := Unpack(t.Context(), a.root, []Blob{b}, Options{})
		if err != nil {
			continue
		}
		if got, err := os.ReadFile(filepath.Join(a.root, "f")); err != nil || string(got) != content {
			t.Fatalf("bad from byte %d on: the content differs (%v)", at, err)
		}
	}
	// Without a second opinion the fault is an error.
	_, err := ExtractTar(t.Context(), newArena(t).root, &failing{bytes.NewReader(z), 1000}, ExtractOptions{})
	if !errors.Is(err, inflate.ErrCorrupt) && !errors.Is(err, inflate.ErrChecksum) {
		t.Errorf("an archive that can be read once: %v", err)
	}
}
