package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"virga/image"
)

// Tag gives src the additional name dst, in place of what had it.
func (s *Store) Tag(ctx context.Context, src Image, dst image.Reference) error {
	src.Ref = dst.String()
	return s.PutImage(ctx, src)
}

// Delete takes away the names of the images that Match finds. Their trees
// stay for Collect to judge, and until it takes them Undelete brings the
// images back. Images deleted meanwhile by others are no error.
func (s *Store) Delete(ctx context.Context, globs ...string) (deleted []Image, unmatched []string, err error) {
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	found, unmatched, err := s.match(globs)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range found {
		if err := s.deleteImage(r); err != nil {
			return deleted, unmatched, fmt.Errorf("delete image %q: %w", r.img.Ref, err)
		}
		deleted = append(deleted, *r.img)
	}
	return deleted, unmatched, nil
}

func (s *Store) deleteImage(r imageRecord) error {
	ref, err := r.img.Reference()
	if err != nil {
		return err
	}
	index, err := s.editIndex(func(x *index) error { x.remove(r.img.Ref); return nil })
	if IsFull(err) {
		index, err = edit{}, nil // deleting must work then; Collect mends the index
	}
	if err != nil {
		return err
	}
	to := s.path(deletedDir, fileName(ref)+".json")
	if err := os.Rename(r.path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, index.discard())
	}
	now := time.Now()
	_ = os.Chtimes(to, now, now) // when it was deleted; for people
	return errors.Join(index.commit(), removeFile(s.path(imgDir, fileName(ref))))
}

// Undelete brings a deleted image back. ErrExists says that there is a new
// one of that name, a *NotFoundError that there is none to bring back, or
// that its trees are gone. If only the flat form is gone, which no state
// holds, the image comes back without.
func (s *Store) Undelete(ctx context.Context, ref image.Reference) (*Image, error) {
	from := s.path(deletedDir, fileName(ref)+".json")
	img, _, err := readImage(from, nil)
	if err == nil {
		err = s.Pin(ctx, img.Chain...)
	}
	if err == nil && img.Flat != "" && s.Pin(ctx, img.Flat) != nil {
		img.Flat = ""
	}
	if err == nil {
		err = s.pinImageBlobs(ctx, img)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotFound) {
		if exists(s.imagePath(ref)) {
			return nil, fmt.Errorf("undelete image %q: %w", ref, ErrExists)
		}
		return nil, &NotFoundError{Query: ref.String()}
	}
	if err != nil {
		return nil, fmt.Errorf("undelete image %q: %w", ref, err)
	}
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if exists(s.imagePath(ref)) {
		return nil, fmt.Errorf("undelete image %q: %w", ref, ErrExists)
	}
	if err := s.putImage(ref, *img); err != nil {
		return nil, fmt.Errorf("undelete image %q: %w", ref, err)
	}
	if err := os.Remove(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("undelete image %q: %w", ref, cause(err))
	}
	return img, nil
}

// Match finds the images that any of the globs means, sorted by reference,
// and says which globs mean none. A glob is a reference in any spelling, a
// pattern of *, ? and [...] (which match "/" and ":" too) for references with
// tag, or without for latest, or a unique digest or id prefix, which means
// all names of that image.
func (s *Store) Match(globs ...string) (found []Image, unmatched []string, err error) {
	records, unmatched, err := s.match(globs)
	for _, r := range records {
		found = append(found, *r.img)
	}
	return found, unmatched, err
}

func (s *Store) match(globs []string) (found []imageRecord, unmatched []string, err error) {
	all, err := s.records(imagesDir)
	if err != nil {
		return nil, nil, err
	}
	hit := make([]bool, len(all))
	for _, g := range globs {
		hits, err := matchOne(all, g)
		if err != nil {
			return nil, nil, err
		}
		if len(hits) == 0 {
			unmatched = append(unmatched, g)
		}
		for _, i := range hits {
			hit[i] = true
		}
	}
	for i, r := range all {
		if hit[i] {
			found = append(found, r)
		}
	}
	return found, unmatched, nil
}

// matchOne returns the indexes of the records that a glob means.
func matchOne(all []imageRecord, glob string) ([]int, error) {
	var hits []int
	if strings.ContainsAny(glob, `*?[\`) {
		// As file names, references have no slash that * would stop at.
		flat := strings.NewReplacer("/", "%", ":", "+")
		pattern := flat.Replace(glob)
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: a bracket is not closed", glob)
		}
		for i, r := range all {
			name := flat.Replace(r.img.Ref)
			ok, _ := path.Match(pattern, name)
			if latest, _ := path.Match(pattern+"+latest", name); ok || latest {
				hits = append(hits, i)
			}
		}
		return hits, nil
	}
	images := make([]Image, len(all))
	for i, r := range all {
		images[i] = *r.img
	}
	found, err := lookup(images, glob)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range all {
		if slices.ContainsFunc(found, func(f Image) bool { return f.Ref == all[i].img.Ref }) {
			hits = append(hits, i)
		}
	}
	return hits, nil
}
