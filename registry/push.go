package registry

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// Upload is a blob to be pushed.
type Upload struct {
	Descriptor
	// Open returns the blob's bytes; it may be called again after a failure,
	// and not at all if the registry has the blob.
	Open func(context.Context) (io.ReadCloser, error)
	// From names repositories of the same registry that may have the blob, to
	// be mounted instead of uploaded.
	From []string
}

// Image is what Push sends: a manifest and all that it names.
type Image struct {
	Manifest  []byte
	MediaType string
	Config    []byte
	Layers    []Upload
}

// PushOptions tunes Push. The zero value works.
type PushOptions struct {
	// ChunkSize above 0 uploads in pieces of that many bytes. 0 sends each
	// blob in one request, and in pieces only to a registry that answers 413.
	ChunkSize int64
}

// Pushed says what Push did.
type Pushed struct {
	Digest                      digest.Digest // of the manifest, as the registry confirmed it
	Uploaded, Mounted, Existing int           // blobs, the configuration included
	Bytes                       int64         // uploaded
}

// Push uploads the blobs that the registry lacks, then the manifest, to ref's
// tag (or to its digest, which must be the manifest's). Bytes that differ
// from their descriptor are refused before the registry sees the end of them.
func (c *Client) Push(ctx context.Context, ref image.Reference, img Image, opts PushOptions) (*Pushed, error) {
	panic("BUG: not yet")
}
