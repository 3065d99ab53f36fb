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
	Digest    digest.Digest // of the compressed bytes; checked by whoever provides Open
	Size      int64         // compressed size, for progress only
	MediaType string        // a hint: the compression is told by the content
	DiffID    digest.Digest // of the uncompressed bytes; empty means unknown, not checked
	// Open returns the compressed bytes. It may be called from several goroutines, and
	// for several blobs at once, but at most once at a time for one blob.
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
	Progress   Progress     // nil: none
	Logger     *slog.Logger // nil: silent
}

// Fixes counts what was changed about an archive's members so that an ordinary
// user can have them.
type Fixes struct {
	Devices  int // device nodes, and everything below dev/: not created
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

// Unpack flattens layers, bottom first, into dir, an existing empty directory.
//
// The result is that of applying each layer to the one below (OCI image
// specification, layer.md): the last member of a name wins; a directory keeps
// its content and takes the attributes of the topmost layer that has it;
// anything else replaces what is there; whiteouts and opaque marks hide
// lower layers only, wherever in their own layer they stand. A link among the parent
// directories of a member is followed, inside dir. Modes are widened so that
// the owner can read and remove everything (Widen); set-id bits stay.
//
// Layers are decompressed ahead of their turn, in bounded memory. The first
// error ends the work and names layer and path; dir is then left half full,
// for the caller to remove.
func Unpack(ctx context.Context, dir string, blobs []Blob, opts Options) (*Unpacked, error) {
	panic("BUG: not yet")
}

// ExtractOptions says how ExtractTar treats an archive.
type ExtractOptions struct {
	// Into is the directory, relative to the root and resolved inside it, that
	// members are relative to. It is created if missing. Empty means the root.
	Into string
	// StripTop removes the one top directory that all members share, unless it
	// is called bin, dev, etc, mnt, proc, sys, tmp or usr (ch-image import).
	// The archive must be seekable for this: it is listed first.
	StripTop bool
	// KeepDev creates what is below dev/, but for device nodes. (An archive
	// that is added to an image is not a whole root file system.)
	KeepDev    bool
	KeepOwners bool // as in Options
	Logger     *slog.Logger
}

// ExtractTar unpacks one archive, with any compression that Decompress knows,
// into the tree at root. Files there already are replaced as by Unpack, but
// names beginning with .wh. are just names. Unpacked.Owners has an entry, even an empty one, for
// nothing but what the archive contains; paths are relative to the root.
func ExtractTar(ctx context.Context, root string, r io.Reader, opts ExtractOptions) (*Unpacked, error) {
	panic("BUG: not yet")
}

// PackOptions says what of a directory goes into a layer.
type PackOptions struct {
	// Whiteouts says that the directory is the upper directory of an overlay
	// mount: devices 0:0 and user.overlay.opaque become whiteouts.
	Whiteouts bool
	// MaxTime, if not 0, is the newest modification time in the layer, in seconds
	// since 1970 (SOURCE_DATE_EPOCH): later ones become it.
	MaxTime int64
	// FlattenOwners makes everything root:root without set-id bits.
	FlattenOwners bool
	Logger        *slog.Logger
}

// Pack writes the directory as an uncompressed tar layer. The bytes depend on
// nothing but names, contents, attributes and links in the directory, on
// owners and on opts: not on inode numbers, the order of directories, access
// times or the number of processors. Sockets are left out. Modification times are cut to
// seconds, as Docker, BuildKit and containerd do.
func Pack(ctx context.Context, w io.Writer, dir string, owners fakeroot.Table, opts PackOptions) error {
	panic("BUG: not yet")
}

// DiffID is the digest and size of what Pack would write.
func DiffID(ctx context.Context, dir string, owners fakeroot.Table, opts PackOptions) (digest.Digest, int64, error) {
	panic("BUG: not yet")
}

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

// Compress returns a writer that compresses to w with all processors. The
// bytes depend on the input alone. Close ends the stream, not w. A level of 0
// is the default one: 6 for gzip, 3 for zstd.
func Compress(w io.Writer, c Compression, level int) (io.WriteCloser, error) {
	panic("BUG: not yet")
}

// Decompress returns the uncompressed bytes of r, whose compression it tells
// by the first bytes. Bytes that are none of gzip, zstd, bzip2 and xz are returned as they are.
// Closing the result does not close r.
func Decompress(r io.Reader) (io.ReadCloser, Compression, error) {
	panic("BUG: not yet")
}

// CopyOptions says how CopyTree copies.
type CopyOptions struct {
	Logger *slog.Logger
}

// CopyTree copies the directory src to dst, an existing empty directory,
// for use as an image's tree. Links are copied, never followed, hard links among the files stay; owners other
// than the caller's (who becomes root), devices and modes that had to be
// widened are in the returned table. Sockets are left out. File contents are shared by reflink where the
// file system can.
func CopyTree(ctx context.Context, dst, src string, opts CopyOptions) (fakeroot.Table, error) {
	panic("BUG: not yet")
}

// ExportOptions says how Export copies.
type ExportOptions struct {
	// Owners makes the owners, modes, devices and attributes of the table real. It needs
	// a real root.
	Owners bool
	// DropSetID leaves out set-user-id and set-group-id bits.
	DropSetID bool
	Logger    *slog.Logger
}

// Export copies a tree to dst, an existing empty directory, as a plain
// directory for people. Without ExportOptions.Owners, modes stay as they are
// in the tree.
func Export(ctx context.Context, dst, src string, owners fakeroot.Table, opts ExportOptions) error {
	panic("BUG: not yet")
}
