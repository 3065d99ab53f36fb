package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// Image is an image: a name for a configuration and a chain of trees.
type Image struct {
	Ref         string         `json:"ref"`                   // image.Reference's String
	ID          digest.Digest  `json:"id"`                    // of the configuration, a blob
	Digest      digest.Digest  `json:"digest,omitempty"`      // of the manifest, a blob, when it was pulled or packed
	IndexDigest digest.Digest  `json:"indexDigest,omitempty"` // of the index it was pulled by
	Provenance  digest.Digest  `json:"provenance,omitempty"`  // of how it was built, a blob, if that was kept
	Chain       []TreeID       `json:"chain"`                 // bottom first
	Flat        TreeID         `json:"flat,omitempty"`        // the whole as one tree, besides Chain
	Platform    image.Platform `json:"platform"`
	Created     time.Time      `json:"created"` // as the configuration says
	Size        int64          `json:"size"`    // of its files, bytes
	Stored      time.Time      `json:"stored"`
	BootID      string         `json:"bootID,omitempty"`

	// Source is the reference that the image was pulled by, whatever it is
	// called now; "" for an image built, imported or loaded here.
	Source   string               `json:"source,omitempty"`
	Verified []image.Verification `json:"verified,omitempty"` // its signatures, when it was pulled or built on
}

// Reference returns Ref parsed.
func (img *Image) Reference() (image.Reference, error) { return image.ParseReference(img.Ref) }

// trees returns all trees that the image needs.
func (img *Image) trees() []TreeID {
	if img.Flat == "" {
		return img.Chain
	}
	return append(slices.Clip(slices.Clone(img.Chain)), img.Flat)
}

// blobs returns the blobs that the record names.
func (img *Image) blobs() []digest.Digest {
	all := img.digests()
	if img.Provenance != "" {
		all = append(all, img.Provenance)
	}
	return all
}

// digests are those by which the image is known.
func (img *Image) digests() []digest.Digest {
	return slices.DeleteFunc([]digest.Digest{img.ID, img.Digest, img.IndexDigest}, func(d digest.Digest) bool { return d == "" })
}

// one returns the tree that holds the whole image, or "".
func (img *Image) one() TreeID {
	switch {
	case img.Flat != "":
		return img.Flat
	case len(img.Chain) == 1:
		return img.Chain[0]
	}
	return ""
}

// maxName keeps a record's name, with ".json", below NAME_MAX (255) bytes; a
// reference can be longer.
const maxName = 200

// fileName returns the name of ref's files in images/ and img/:
// image.Reference's FileName, cut and made unique when it is too long.
func fileName(ref image.Reference) string {
	name := ref.FileName()
	if len(name) <= maxName {
		return name
	}
	return name[:maxName-33] + "~" + keyFile(name)
}

func (s *Store) imagePath(ref image.Reference) string {
	return s.path(imagesDir, fileName(ref)+".json")
}

// PutImage stores an image under its reference, in place of one that was
// there, and links img/ to it if it is one tree. Trees and configuration must
// be in storage. A manifest of which not all is there, because it was packed
// for a registry that has the rest or collected meanwhile, is not recorded.
// After Sync the record is on disk when PutImage returns; before, Sync will
// mark it.
func (s *Store) PutImage(ctx context.Context, img Image) error {
	ref, err := img.Reference()
	if err != nil {
		return err
	}
	img.Ref = ref.String()
	if err := img.check(); err != nil {
		return fmt.Errorf("store image %q: %w", img.Ref, err)
	}
	err = s.Pin(ctx, img.trees()...)
	if err == nil {
		err = s.pinImageBlobs(ctx, &img)
	}
	if err != nil {
		return fmt.Errorf("store image %q: %w", img.Ref, err)
	}
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.putImage(ref, img); err != nil {
		return fmt.Errorf("store image %q: %w", img.Ref, err)
	}
	return nil
}

// pinImageBlobs pins the blobs that an image needs, and takes from it a
// manifest of which not all is in storage.
func (s *Store) pinImageBlobs(ctx context.Context, img *Image) error {
	err := s.PinBlobs(ctx, img.blobs()...)
	if err == nil && img.Digest != "" {
		err = s.PinBlobs(ctx, s.imageBlobs(img)...)
	}
	if errors.Is(err, ErrNotFound) && img.Digest != "" {
		img.Digest, img.IndexDigest = "", ""
		err = s.PinBlobs(ctx, img.blobs()...)
	}
	return err
}

// check looks at the form of what the image refers to.
func (img *Image) check() error {
	if len(img.Chain) == 0 {
		return errors.New("it has no trees")
	}
	for _, id := range img.trees() {
		if err := id.check(); err != nil {
			return err
		}
	}
	return checkDigest(img.ID)
}

// putImage writes a record and what follows from it. The lock is held alone.
func (s *Store) putImage(ref image.Reference, img Image) error {
	path := s.imagePath(ref)
	have, durable, err := readImage(path, nil)
	same := err == nil && durable && sameImage(have, &img)
	// What cannot be written must fail before the record is there.
	index, err := s.editIndex(func(x *index) error { return x.set(s, &img) })
	if err != nil {
		return err
	}
	link, err := s.editLink(ref, img.one())
	if err != nil {
		return errors.Join(err, index.discard())
	}
	if same { // whoever wrote it may have been killed before the rest
		return errors.Join(index.commit(), link.commit())
	}
	durable = s.dirty.empty()
	img.Stored, img.BootID = time.Now().UTC(), s.me().bootID()
	if err := s.writeRecord(path, img, durable); err != nil {
		return errors.Join(err, index.discard(), link.discard())
	}
	if !durable {
		s.dirty.add(path, true)
	}
	return errors.Join(index.commit(), link.commit())
}

// sameImage reports whether two records differ only in when they were stored.
func sameImage(a, b *Image) bool {
	return a.Ref == b.Ref && a.ID == b.ID && a.Digest == b.Digest && a.IndexDigest == b.IndexDigest && a.Provenance == b.Provenance &&
		slices.Equal(a.Chain, b.Chain) && a.Flat == b.Flat && a.Platform.String() == b.Platform.String() &&
		a.Created.Equal(b.Created) && a.Size == b.Size && a.Source == b.Source && slices.Equal(a.Verified, b.Verified)
}

// editLink prepares to make img/<name> a link to a tree's files, or to remove
// it for "".
func (s *Store) editLink(ref image.Reference, id TreeID) (edit, error) {
	e := edit{path: s.path(imgDir, fileName(ref))}
	if id == "" {
		return e, nil
	}
	target := linkTarget(id)
	if have, err := os.Readlink(e.path); err == nil && have == target {
		return edit{}, nil
	}
	var err error
	if e.temp, err = s.tempName("link"); err != nil {
		return edit{}, err
	}
	if err := os.Symlink(target, e.temp); err != nil {
		return edit{}, err
	}
	return e, nil
}

func linkTarget(id TreeID) string {
	return "../" + treesDir + "/" + string(id) + "/" + filesDir
}

// Image returns the image of exactly this reference, or a *NotFoundError.
// ErrNotDurable says that its machine went down before it was written out.
func (s *Store) Image(ref image.Reference) (*Image, error) {
	img, durable, err := readImage(s.imagePath(ref), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{Query: ref.String(), Deleted: exists(s.path(deletedDir, fileName(ref)+".json"))}
	}
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	if !s.trusted(durable, img.BootID) {
		return nil, fmt.Errorf("image %q: %w", ref, ErrNotDurable)
	}
	return img, nil
}

// readImage reads a record; buf is used if it is large enough.
func readImage(path string, buf []byte) (img *Image, durable bool, err error) {
	data, st, err := readSmall(path, buf)
	if err != nil {
		return nil, false, err
	}
	img = new(Image)
	if err := json.Unmarshal(data, img); err != nil {
		return nil, false, fmt.Errorf("record %q: %w: %w", path, ErrCorrupt, err)
	}
	ref, err := img.Reference()
	if err != nil || fileName(ref)+".json" != filepath.Base(path) || img.check() != nil {
		return nil, false, fmt.Errorf("record %q: %w: it is not what its name says", path, ErrCorrupt)
	}
	return img, st.Mode&writeBits == 0, nil
}

// Images returns all images that can be believed, sorted by reference.
// Damaged records are logged and left out.
func (s *Store) Images() ([]Image, error) {
	all, err := s.records(imagesDir)
	if err != nil {
		return nil, err
	}
	images := make([]Image, 0, len(all))
	for _, r := range all {
		if s.trusted(r.durable, r.img.BootID) {
			images = append(images, *r.img)
		}
	}
	return images, nil
}

// Deleted returns the images that Undelete can bring back.
func (s *Store) Deleted() ([]Image, error) {
	all, err := s.records(deletedDir)
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, r := range all {
		if s.trusted(r.durable, r.img.BootID) && s.haveTrees(r.img.Chain) {
			images = append(images, *r.img)
		}
	}
	return images, nil
}

func (s *Store) haveTrees(ids []TreeID) bool {
	return !slices.ContainsFunc(ids, func(id TreeID) bool { return !exists(s.treeDir(id)) })
}

// imageRecord is an image as found.
type imageRecord struct {
	path    string
	img     *Image
	durable bool
}

// records reads the image records in a directory, sorted by reference.
func (s *Store) records(dir string) ([]imageRecord, error) {
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	all := make([]imageRecord, 0, len(entries))
	buf := make([]byte, 8<<10)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		path := s.path(dir, e.Name())
		img, durable, err := readImage(path, buf)
		switch {
		case errors.Is(err, ErrCorrupt):
			s.log.Warn("damaged image record", "err", err)
		case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
		case err != nil:
			return nil, fmt.Errorf("list images: %w", err)
		default:
			all = append(all, imageRecord{path, img, durable})
		}
	}
	slices.SortFunc(all, func(a, b imageRecord) int { return strings.Compare(a.img.Ref, b.img.Ref) })
	return all, nil
}
