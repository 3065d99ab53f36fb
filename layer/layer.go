// Package layer turns tar layers into directory trees and directory trees
// into tar layers, for a user who owns nothing but files of his own.
//
//   - Unpack flattens the layers of an image into one directory.
//   - Pack writes a directory as a deterministic layer.
//   - ExtractTar unpacks one plain archive (import, ADD).
//   - CopyTree and Export copy directories (import, unpack).
//
// What one unprivileged uid cannot store on disk (owners, devices, modes that
// would lock the owner out, privileged extended attributes) is returned in,
// or taken from, a fakeroot.Table.
//
// Nothing outside the given directory is ever touched, whatever an archive
// contains: every path is resolved by handles inside the directory, as chroot
// would (see internal/inroot).
//
//	u, err := layer.Unpack(ctx, dir, blobs, layer.Options{})
//	...
//	id, size, err := layer.DiffID(ctx, dir, u.Owners, layer.PackOptions{})
package layer

import (
	"context"
	"io"
	"log/slog"

	"github.com/opencontainers/go-digest"

	"virga/fakeroot"
)

// Blob is one layer of an image, as a registry stores it.
type Blob struct {
	Name      string        // for errors about a blob without Digest; may be empty
	Digest    digest.Digest // of the compressed bytes; checked by whoever provides Open
	Size      int64         // compressed size, for progress only
	MediaType string        // a hint: the compression is told by the content
	DiffID    digest.Digest // of the uncompressed bytes; empty means unknown, not checked
	// Open returns the compressed bytes, from the beginning. It is called from
	// other goroutines, for several blobs at once, and again for one blob if its data seem
	// corrupt, so that another decoder can have a look.
	Open func(context.Context) (io.ReadCloser, error)
}

// Progress is told about work done. It is called from several goroutines.
type Progress interface {
	// Unpacked says that n more compressed bytes of a layer have been read.
	Unpacked(layer digest.Digest, n int64)
}

// Options says how layers are unpacked. The zero value is right for an
// ordinary user.
type Options struct {
	// KeepOwners makes owners, modes, devices and extended attributes real. It
	// needs a real root; Unpacked.Owners stays empty.
	KeepOwners bool
	// KeepDev keeps what is below dev/, for files that are packed again. Devices
	// elsewhere are always kept, as empty files with a record of what they are.
	KeepDev  bool
	Progress Progress     // nil: none
	Logger   *slog.Logger // nil: silent
}

// Fixes counts what was changed about an archive's members so that an ordinary
// user can have them.
type Fixes struct {
	Devices  int // what is below dev/, and devices 0:0: not created
	Absolute int // member names and hard link targets whose leading / was dropped
	Clamped  int // hard link targets that climbed above the root
	Unnamed  int // members without a name, skipped
}

// Unpacked is the result of unpacking.
type Unpacked struct {
	Owners  fakeroot.Table  // what the disk could not hold
	DiffIDs []digest.Digest // computed, one per blob, equal to Blob.DiffID where given
	Size    int64           // uncompressed bytes of all layers
	Fixes
}
