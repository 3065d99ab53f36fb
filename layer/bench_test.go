package layer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// benchLayer returns a file with a layer: the one that LAYER_BENCH names (any
// compression), else one of many small files and some large ones.
func benchLayer(b *testing.B, c Compression) (path string, size int64) {
	b.Helper()
	if path := os.Getenv("LAYER_BENCH"); path != "" {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		zr, _, err := Decompress(f)
		if err != nil {
			b.Fatal(err)
		}
		if size, err = io.Copy(io.Discard, zr); err != nil {
			b.Fatal(err)
		}
		return path, size
	}
	r := rand.New(rand.NewPCG(1, 1))
	var text strings.Builder
	for text.Len() < 2<<20 {
		fmt.Fprintf(&text, "%x %s\n", r.IntN(1<<20), []string{"usr", "share", "doc", "copyright"}[r.IntN(4)])
	}
	var es []entry
	for d := range 200 {
		es = append(es, dir(fmt.Sprintf("d%d", d)))
		for i := range 20 {
			n, at := r.IntN(16<<10), r.IntN(1<<20)
			es = append(es, file(fmt.Sprintf("d%d/f%d", d, i), text.String()[at:at+n]))
		}
	}
	for i := range 20 {
		es = append(es, file(fmt.Sprintf("big%d", i), text.String()))
	}
	plain := archive(b, es...)
	path = filepath.Join(b.TempDir(), "layer")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	zw, err := Compress(f, c, 0)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := zw.Write(plain); err != nil {
		b.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		b.Fatal(err)
	}
	return path, int64(len(plain))
}

// benchDir is a directory in memory, where there is such a file system.
func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "layer-bench-*")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func BenchmarkUnpack(b *testing.B) {
	for _, c := range []Compression{Uncompressed, Gzip, Zstd} {
		b.Run(c.String(), func(b *testing.B) {
			path, size := benchLayer(b, c)
			b.SetBytes(size)
			for b.Loop() {
				b.StopTimer()
				dir := benchDir(b)
				b.StartTimer()
				_, err := Unpack(b.Context(), dir, []Blob{{Open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) }}}, Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				os.RemoveAll(dir)
				b.StartTimer()
			}
		})
	}
}

func BenchmarkDecompress(b *testing.B) {
	for _, c := range []Compression{Gzip, Zstd} {
		b.Run(c.String(), func(b *testing.B) {
			path, size := benchLayer(b, c)
			b.SetBytes(size)
			buf := make([]byte, chunkSize)
			for b.Loop() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				zr, _, err := Decompress(f)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(onlyWriter{io.Discard}, zr, buf); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	path, size := benchLayer(b, Uncompressed)
	dir := benchDir(b)
	u, err := Unpack(b.Context(), dir, []Blob{{Open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) }}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("diffid", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if _, _, err := DiffID(b.Context(), dir, u.Owners, PackOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, c := range []Compression{Gzip, Zstd} {
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				zw, err := Compress(io.Discard, c, 0)
				if err != nil {
					b.Fatal(err)
				}
				if err := Pack(b.Context(), zw, dir, u.Owners, PackOptions{}); err != nil {
					b.Fatal(err)
				}
				if err := zw.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUnpackFiles shows that time grows with the number of files and no
// faster.
func BenchmarkUnpackFiles(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			es := make([]entry, 0, n+n/50)
			for i := range n {
				if i%50 == 0 {
					es = append(es, dir(fmt.Sprintf("d%d", i/50)))
				}
				e := file(fmt.Sprintf("d%d/f%d", i/50, i), "content")
				e.ModTime = time.Unix(1, 0)
				es = append(es, e)
			}
			bs := []Blob{blob(archive(b, es...))}
			for b.Loop() {
				b.StopTimer()
				dir := benchDir(b)
				b.StartTimer()
				if _, err := Unpack(b.Context(), dir, bs, Options{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				os.RemoveAll(dir)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/file")
		})
	}
}
