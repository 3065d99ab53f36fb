package registry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// BenchmarkFetch is the speed of verified downloads over loopback, the bound
// being SHA-256 and the kernel's copies.
func BenchmarkFetch(b *testing.B) {
	const size = 64 << 20
	blobs := map[string][]byte{}
	var descs []Descriptor
	for i := range 4 {
		blob := make([]byte, size)
		blob[0] = byte(i)
		d := digest.FromBytes(blob)
		blobs["/v2/a/blobs/"+d.String()] = blob
		descs = append(descs, Descriptor{Digest: d, Size: size})
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(blobs[r.URL.Path])
	}))
	defer s.Close()
	c, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ref := image.Reference{Host: s.Listener.Addr().String(), Path: "a", Tag: "t"}
	b.SetBytes(size * int64(len(descs)))
	for b.Loop() {
		err := c.Fetch(context.Background(), ref, descs, func(_ context.Context, _ Descriptor, r io.Reader) error {
			_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, 256<<10))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
