package layer

import (
	"context"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// DiffIDs reads layers, several at once and in bounded memory, and returns the
// digests of their uncompressed bytes. Unlike Unpack it compares Blob.Digest,
// too. The first error ends the work and names the layer.
func DiffIDs(ctx context.Context, blobs []Blob, p Progress) ([]digest.Digest, error) {
	out := make([]digest.Digest, len(blobs))
	free := newChunks()
	// One at a time has a window as large as zstd allows.
	large := make(chan struct{}, 1)
	large <- struct{}{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(streams())
	for i, b := range blobs {
		g.Go(func() (err error) {
			if out[i], err = diffID(ctx, b, p, free, large); err != nil {
				return fmt.Errorf("layer %s: %w", b.name(i), err)
			}
			return nil
		})
	}
	return out, g.Wait()
}

func diffID(ctx context.Context, b Blob, p Progress, free *sync.Pool, large chan struct{}) (digest.Digest, error) {
	s := newStream(free, large)
	s.verify = true
	s.start(ctx, b, p)
	id, _, err := s.finish()
	s.close()
	if s.large {
		large <- struct{}{}
	}
	if err == nil && b.DiffID != "" && b.DiffID != id {
		err = &DiffIDError{Want: b.DiffID, Got: id}
	}
	return id, err
}
