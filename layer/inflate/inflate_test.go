package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	kgzip "github.com/klauspost/compress/gzip"
)

// samples are data of different natures.
func samples() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	var text bytes.Buffer
	for text.Len() < 3<<20 {
		fmt.Fprintf(&text, "%s %x\n", []string{"usr", "share", "doc", "lib"}[r.IntN(4)], r.IntN(1<<r.IntN(20)+1))
	}
	// Matches of every length and distance, runs among them.
	var matches []byte
	for len(matches) < 1<<20 {
		if len(matches) < 300 || r.IntN(4) == 0 {
			matches = append(matches, byte(r.IntN(256)))
			continue
		}
		d := 1 + r.IntN(min(len(matches), 1<<(1+r.IntN(15))))
		for range 3 + r.IntN(300) {
			matches = append(matches, matches[len(matches)-d])
		}
	}
	skewed := make([]byte, 1<<20) // long codes
	for i := range skewed {
		for skewed[i] < 40 && r.IntN(2) == 0 {
			skewed[i]++
		}
	}
	return map[string][]byte{
		"empty": {}, "one byte": {7}, "zeros": make([]byte, 5<<20), "random": random,
		"text": text.Bytes(), "matches": matches, "skewed": skewed,
		"window": append(append(bytes.Clone(random[:window]), random[:window]...), random[:window+1]...),
	}
}

func compressed(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	zw, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	zw.Write(data)
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inflated(r io.Reader) ([]byte, error) {
	zr, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zr)
}

// inflatedByNext is inflated by way of Next. Between the calls the buffer is
// overwritten, as by somebody who uses it for something else.
func inflatedByNext(r io.Reader) (all []byte, err error) {
	zr, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, BufferSize)
	for {
		b, err := zr.Next(buf)
		all = append(all, b...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil || len(b) == 0 {
			return all, err
		}
		for i := range buf {
			buf[i] = 0xaa
		}
	}
}

// ways are the two ways to read.
var ways = map[string]func(io.Reader) ([]byte, error){"Read": inflated, "Next": inflatedByNext}

func TestRead(t *testing.T) {
	for name, data := range samples() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 6, 9} {
			z := compressed(t, data, level)
			readers := map[string]io.Reader{
				"whole":   bytes.NewReader(z),
				"halves":  iotest.HalfReader(bytes.NewReader(z)),
				"dataErr": iotest.DataErrReader(bytes.NewReader(z)),
			}
			if len(z) < 1<<20 {
				readers["bytes"] = iotest.OneByteReader(bytes.NewReader(z))
			}
			for how, r := range readers {
				if got, err := inflated(r); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s, level %d, %s: %d bytes (%v), want %d", name, level, how, len(got), err, len(data))
				}
			}
			if got, err := inflatedByNext(bytes.NewReader(z)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, level %d, by Next: %d bytes (%v), want %d", name, level, len(got), err, len(data))
			}
		}
	}
}

func TestMembers(t *testing.T) {
	a, b := []byte("first "), bytes.Repeat([]byte("second "), 50_000)
	z := append(compressed(t, a, 6), compressed(t, b, 0)...)
	z = append(z, compressed(t, nil, 6)...)
	z = append(z, compressed(t, b, 9)...)
	want := string(a) + string(b) + string(b)
	for _, garbage := range []string{"", "\x00", "garbage", strings.Repeat("\x00", 1<<20), "\x1f"} {
		for way, inflated := range ways {
			if got, err := inflated(strings.NewReader(string(z) + garbage)); err != nil || string(got) != want {
				t.Errorf("%s, with %.10q after it: %d bytes (%v), want %d", way, garbage, len(got), err, len(want))
			}
		}
	}
	if _, err := inflated(strings.NewReader(string(z) + "\x1f\x8b more")); err == nil {
		t.Error("half a header is no error")
	}
	// A match must not reach into the member before.
	var far bytes.Buffer
	zw, _ := flate.NewWriterDict(&far, 9, a)
	zw.Write(a)
	zw.Close()
	alone := compressed(t, a, 6)
	z = append(bytes.Clone(alone), alone[:10]...)
	z = append(append(z, far.Bytes()...), alone[len(alone)-8:]...)
	for way, inflated := range ways {
		if _, err := inflated(bytes.NewReader(z)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: a match into the member before: error is %v", way, err)
		}
	}
}

func TestHeader(t *testing.T) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	zw.Name, zw.Comment, zw.Extra = "a name", strings.Repeat("comment ", 100), bytes.Repeat([]byte("x"), 60_000)
	zw.Write([]byte("data"))
	zw.Close()
	if got, err := inflated(iotest.OneByteReader(&b)); err != nil || string(got) != "data" {
		t.Errorf("%q (%v)", got, err)
	}
	for in, want := range map[string]error{
		"":                io.ErrUnexpectedEOF,
		"\x1f\x8b":        io.ErrUnexpectedEOF,
		"not gzip at all": ErrHeader,
		"\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x00": ErrHeader,
	} {
		if _, err := NewReader(strings.NewReader(in)); err != want {
			t.Errorf("NewReader of %q: error is %v, want %v", in, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	data := bytes.Repeat([]byte("some data, again and "), 10_000)
	z := compressed(t, data, 6)
	for n := range len(z) {
		if _, err := inflated(bytes.NewReader(z[:n])); err != io.ErrUnexpectedEOF {
			t.Fatalf("cut after %d of %d bytes: error is %v", n, len(z), err)
		}
	}
	for i := range 8 {
		bad := bytes.Clone(z)
		bad[len(z)-1-i] ^= 0x10
		if _, err := inflated(bytes.NewReader(bad)); err != ErrChecksum {
			t.Errorf("checksum changed: error is %v", err)
		}
	}
	cause := errors.New("network is down")
	r := io.MultiReader(bytes.NewReader(z[:100]), iotest.ErrReader(cause))
	if _, err := inflated(r); err != cause {
		t.Errorf("error is %v, want the reader's", err)
	}
	if _, err := inflated(io.MultiReader(bytes.NewReader(z[:50]), idle{})); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: error is %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// compare fails the test unless this package and compress/gzip agree about z:
// the same bytes, and an error from both or neither.
func compare(t *testing.T, z []byte, split uint) {
	t.Helper()
	var want []byte
	zr, wantErr := gzip.NewReader(bytes.NewReader(z))
	if wantErr == nil {
		zr.Multistream(false)
		want, wantErr = io.ReadAll(zr)
	}
	var r io.Reader = bytes.NewReader(z)
	if split > 0 {
		r = &pieces{z, int(split)}
	}
	got, err := inflated(r)
	if next, nextErr := inflatedByNext(bytes.NewReader(z)); !bytes.Equal(next, got) || nextErr != err {
		t.Fatalf("Read: %d bytes (%v); Next: %d bytes (%v)", len(got), err, len(next), nextErr)
	}
	if wantErr == nil && !bytes.HasPrefix(got, want) {
		t.Fatalf("%d bytes, not beginning with the %d of compress/gzip", len(got), len(want))
	}
	if wantErr != nil && err == nil {
		t.Fatalf("no error, but compress/gzip says: %v", wantErr)
	}
	// compress/gzip has read one member; with nothing after it there is no more.
	if wantErr == nil && err != nil && len(z) > 0 && bytes.Count(z, []byte("\x1f\x8b")) == 1 {
		t.Fatalf("error %v, but compress/gzip has none", err)
	}
}

type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.size, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

// TestMutations changes single bits of good streams.
func TestMutations(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, data := range samples() {
		data = data[:min(len(data), 20_000)]
		for _, level := range []int{gzip.HuffmanOnly, 0, 1, 9} {
			z := compressed(t, data, level)
			t.Run(fmt.Sprintf("%s %d", name, level), func(t *testing.T) {
				for range 300 {
					bad := bytes.Clone(z)
					for range 1 + r.IntN(3) {
						bad[10+r.IntN(min(len(bad)-10, 1+1<<r.IntN(15)))] ^= 1 << r.IntN(8)
					}
					compare(t, bad, uint(r.IntN(100)))
				}
			})
		}
	}
}

// FuzzReader compares with compress/gzip: any DEFLATE data, with a trailer
// that does or does not fit.
func FuzzReader(f *testing.F) {
	for _, data := range samples() {
		for _, level := range []int{gzip.HuffmanOnly, 0, 6} {
			z := compressed(f, data[:min(len(data), 2000)], level)
			f.Add(z[10:len(z)-8], uint(0))
		}
	}
	f.Add([]byte("\x05\x00"), uint(1)) // a block that never ends
	header := compressed(f, nil, 6)[:10]
	f.Fuzz(func(t *testing.T, deflate []byte, split uint) {
		// What compress/flate makes of it gives the checksum.
		fr := bytes.NewReader(deflate)
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(fr), 10<<20))
		z := append(bytes.Clone(header), deflate...)
		if err == nil && len(plain) < 10<<20 {
			used := len(deflate) - fr.Len()
			trailer := compressed(t, plain, 0)
			z = append(z[:10+used], trailer[len(trailer)-8:]...)
		}
		compare(t, z, split%1000)
		if err == nil {
			if got, err := inflated(bytes.NewReader(z)); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes (%v), want %d", len(got), err, len(plain))
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	z, size := benchData(b)
	for name, open := range map[string]func(io.Reader) (io.Reader, error){
		"inflate":   func(r io.Reader) (io.Reader, error) { return NewReader(r) },
		"klauspost": func(r io.Reader) (io.Reader, error) { return kgzip.NewReader(r) },
		"stdlib":    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			buf := make([]byte, 256<<10)
			for b.Loop() {
				zr, err := open(bytes.NewReader(z))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{zr}, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchData is the gzip file that INFLATE_BENCH names, else text.
func benchData(b *testing.B) (z []byte, size int64) {
	if path := os.Getenv("INFLATE_BENCH"); path != "" {
		z, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		plain, err := inflated(bytes.NewReader(z))
		if err != nil {
			b.Fatal(err)
		}
		return z, int64(len(plain))
	}
	text := bytes.Repeat(samples()["text"], 4)
	return compressed(b, text, 6), int64(len(text))
}
