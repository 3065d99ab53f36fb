package storage

import (
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// minPrefix is the least number of digits that name an image.
const minPrefix = 4

// Lookup finds what a query means: a reference in any spelling (Docker Hub's
// aliases, the file-name form), a reference with the digest that the image
// was pulled by, or a unique prefix of an image's id or digest, sha256:
// optional, of 4 digits or more. All images returned, at least one, are the
// same under different names; they are sorted by reference.
//
// Errors: *NotFoundError with the nearest names, *AmbiguousError, ErrNotDurable.
func (s *Store) Lookup(query string) ([]Image, error) {
	// The usual query needs one record only.
	if ref, err := image.ParseReference(query); err == nil {
		img, err := s.Image(ref)
		if err == nil {
			return []Image{*img}, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	all, err := s.Images()
	if err != nil {
		return nil, err
	}
	found, err := lookup(all, query)
	var missing *NotFoundError
	if errors.As(err, &missing) {
		if ref, err := image.ParseReference(query); err == nil {
			missing.Deleted = exists(s.path(deletedDir, fileName(ref)+".json"))
		}
	}
	return found, err
}

func lookup(all []Image, query string) ([]Image, error) {
	ref, err := image.ParseReference(query)
	if err == nil {
		if i := slices.IndexFunc(all, func(img Image) bool { return img.Ref == ref.String() }); i >= 0 {
			return all[i : i+1], nil
		}
		if ref.Digest != "" {
			found := filter(all, func(img *Image) bool { return hasDigest(img, ref) })
			if len(found) > 0 {
				return one(query, found)
			}
		}
	}
	if prefix, ok := hexPrefix(query); ok {
		found := filter(all, func(img *Image) bool {
			return slices.ContainsFunc(img.digests(), func(d digest.Digest) bool {
				return strings.HasPrefix(d.Encoded(), prefix)
			})
		})
		if len(found) > 0 {
			return one(query, found)
		}
	}
	return nil, &NotFoundError{Query: query, Nearest: nearest(all, query)}
}

// hasDigest reports whether img is of ref's repository and has its digest; a
// tag beside a digest says nothing.
func hasDigest(img *Image, ref image.Reference) bool {
	have, err := img.Reference()
	return err == nil && have.Name() == ref.Name() && slices.Contains(img.digests(), ref.Digest)
}

// one returns found if all of it is one image.
func one(query string, found []Image) ([]Image, error) {
	for _, img := range found[1:] {
		if img.ID != found[0].ID {
			return nil, &AmbiguousError{Query: query, Candidates: found}
		}
	}
	return found, nil
}

func filter(all []Image, want func(*Image) bool) []Image {
	var found []Image
	for i := range all {
		if want(&all[i]) {
			found = append(found, all[i])
		}
	}
	return found
}

// hexPrefix reads a digest prefix.
func hexPrefix(query string) (string, bool) {
	p := strings.TrimPrefix(query, "sha256:")
	return p, len(p) >= minPrefix && len(p) <= 64 && strings.Trim(p, "0123456789abcdef") == ""
}

// nearest returns up to three references that query may be a misspelling of,
// or a wrong tag of.
func nearest(all []Image, query string) []string {
	want := query
	if ref, err := image.ParseReference(query); err == nil {
		want = ref.String()
	}
	name, _, _ := strings.Cut(want, ":")
	type scored struct {
		ref   string
		score int
	}
	var near []scored
	for _, img := range all {
		d := distance(want, img.Ref)
		n, _, _ := strings.Cut(img.Ref, ":")
		if n == name || strings.HasSuffix(n, "/"+name) {
			d = min(d, 1)
		}
		if d <= max(2, len(name)/3) {
			near = append(near, scored{img.Ref, d})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return a.score - b.score })
	var refs []string
	for _, n := range near[:min(3, len(near))] {
		refs = append(refs, n.ref)
	}
	return refs
}

// distance is the number of bytes to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
