package exchange

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/archive"
	"virga/attest"
	"virga/layer"
)

// A layer of 3 GB, plain and compressed, is attested in bounded memory. It
// takes half a minute; VIRGA_TEST_LARGE asks for it.
func TestAttestLargeLayer(t *testing.T) {
	if os.Getenv("VIRGA_TEST_LARGE") == "" {
		t.Skip("VIRGA_TEST_LARGE is not set")
	}
	const size = 3 << 30
	id, err := digest.SHA256.FromReader(io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	config := asJSON(t, map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{id}}})
	list := asJSON(t, []archive.Entry{{Config: "c.json", Layers: []string{"layer.tar"}}})
	s := newSite(t)
	for _, c := range []layer.Compression{layer.Uncompressed, layer.Gzip, layer.Zstd} {
		t.Run(c.String(), func(t *testing.T) {
			path := largeImage(t, c, size, config, list)
			runtime.GC()
			var peak atomic.Uint64
			stop := watchHeap(&peak)
			start := time.Now()
			got := s.one(t, path)
			stop()
			equalJSON(t, "diffids", got.DiffIDs, []attest.DigestSet{attest.Digests(id)})
			t.Logf("%v: %.1f s, %d MB from the system", c, time.Since(start).Seconds(), peak.Load()>>20)
			if peak.Load() > 100<<20 {
				t.Errorf("%d bytes of memory", peak.Load())
			}
		})
	}
}

// watchHeap keeps the most memory that is in use until stop is called.
func watchHeap(peak *atomic.Uint64) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.Sys-m.HeapReleased))
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-gone }
}

// largeImage writes an image of one layer of zero bytes. A plain layer is a
// hole in the file.
func largeImage(t *testing.T, c layer.Compression, size int64, config, list []byte) string {
	t.Helper()
	var packed bytes.Buffer
	if c != layer.Uncompressed {
		zw, err := layer.Compress(&packed, c, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(zw, io.LimitReader(zeros{}, size)); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		size = int64(packed.Len())
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "large.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tw := tar.NewWriter(f)
	member := func(name string, b []byte) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	member("c.json", config)
	member("manifest.json", list)
	if c != layer.Uncompressed {
		member("layer.tar", packed.Bytes())
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	if err := tw.WriteHeader(&tar.Header{Name: "layer.tar", Mode: 0o644, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err == nil {
		err = f.Truncate(at + size + 1024)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// A digest that is interrupted is an error, not a digest.
func TestAttestDigestInterrupted(t *testing.T) {
	f, err := os.Open(writeFile(t, []byte("some bytes")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := (&imageFile{tar: f, was: fi}).digest(ctx); err == nil || d != nil {
		t.Errorf("digest %v, error %v", d, err)
	}
}
