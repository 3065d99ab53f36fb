package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"virga/archive"
	"virga/attest"
	"virga/layer"
)

// AttestOptions tune Attest. The zero value is about one image for each name.
type AttestOptions struct {
	Step  string // the name of the collection
	Image int    // the only image in the file that is wanted, from 1; 0: all
	Want  archive.Want
}

// Attest makes a statement about the images in a file or directory of any form
// that package archive reads, but for Docker's before version 1.10. Everything
// that it names was read and compared: the configuration, and each layer's
// compressed and uncompressed bytes. Layers are read several at once, in
// bounded memory.
func (x *Exchange) Attest(ctx context.Context, path string, opts AttestOptions) (_ *attest.Statement, err error) {
	fail := func(err error) (*attest.Statement, error) { return nil, fmt.Errorf("attest %q: %w", path, err) }
	start := x.clock()
	work, err := x.store.NewWork(ctx)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	f, err := openImages(ctx, work, path, true)
	if err != nil {
		return fail(err)
	}
	defer f.close()
	list, err := described(f.File, opts.Want)
	if err == nil {
		list, err = pick(list, opts.Image)
	}
	if err != nil {
		return fail(err)
	}
	var whole attest.DigestSet
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		whole, err = f.digest(gctx)
		return err
	})
	g.Go(func() error { return x.compareLayers(gctx, list) })
	if err := g.Wait(); err != nil {
		return fail(err)
	}
	if err := f.unchanged(); err != nil {
		return fail(err)
	}
	return collect(opts.Step, list, whole, start, x.clock())
}

func (x *Exchange) clock() time.Time {
	if x.opts.Epoch != nil {
		return *x.opts.Epoch
	}
	return time.Now()
}

// seen is an image in a file and what is to be said about it.
type seen struct {
	oci    attest.OCI
	layers []archive.Layer
}

// described are the images of a file as it describes them: by manifest.json if
// there is one, as Docker reads it, else by the manifests of the layout.
func described(f *archive.File, want archive.Want) ([]seen, error) {
	l, err := f.Listing()
	if err != nil {
		return nil, err
	}
	if l != nil {
		return listed(l), nil
	}
	images, err := f.Images(want)
	if err != nil {
		return nil, err
	}
	out := make([]seen, len(images))
	for i, img := range images {
		if img.Manifest == nil {
			return nil, &hintedError{
				what: "it is of a Docker before 1.10, whose images have no manifest and no configuration",
				hint: "virga convert makes a newer file of it", is: archive.ErrNotImage,
			}
		}
		e := attest.Entry{Config: img.ConfigName, RepoTags: img.Names}
		for _, l := range img.Layers {
			e.Layers = append(e.Layers, l.Name)
		}
		out[i] = newSeen(img, img.Manifest, []attest.Entry{e}, img.Names)
	}
	return out, nil
}

func listed(l *archive.Listing) []seen {
	entries := entriesOf(l.Entries)
	out := make([]seen, len(l.Images))
	for i, img := range l.Images {
		out[i] = newSeen(img, l.Raw, entries, l.Entries[i].RepoTags)
	}
	return out
}

func entriesOf(list []archive.Entry) []attest.Entry {
	out := make([]attest.Entry, len(list))
	for i, e := range list {
		out[i] = attest.Entry(e)
	}
	return out
}

func newSeen(img *archive.Image, raw []byte, entries []attest.Entry, tags []string) seen {
	s := seen{layers: img.Layers, oci: attest.OCI{
		Manifest: entries, ImageTags: tags, ImageID: attest.Digests(digest.FromBytes(img.Config)),
		ManifestRaw: raw, ManifestDigest: attest.Digests(digest.FromBytes(raw)),
	}}
	for _, l := range img.Layers {
		s.oci.DiffIDs = append(s.oci.DiffIDs, attest.Digests(l.DiffID))
	}
	return s
}

// pick returns the image of that number, or all of them if it is 0.
func pick(list []seen, number int) ([]seen, error) {
	if number == 0 {
		return list, nil
	}
	if number > len(list) {
		return nil, fmt.Errorf("there is no image %d in it, it has %d", number, len(list))
	}
	return list[number-1 : number], nil
}

// compareLayers reads each layer once and compares it with what the
// configuration and the manifest say about it.
func (x *Exchange) compareLayers(ctx context.Context, list []seen) error {
	type key struct {
		name   string
		digest digest.Digest
		diffID digest.Digest
	}
	var blobs []layer.Blob
	done := map[key]bool{}
	for _, s := range list {
		for _, l := range s.layers {
			k := key{l.Name, l.Digest, l.DiffID}
			if done[k] {
				continue
			}
			done[k] = true
			blobs = append(blobs, layer.Blob{
				Name: l.Name, Digest: l.Digest, Size: l.Size, MediaType: l.MediaType, DiffID: l.DiffID,
				Open: func(context.Context) (io.ReadCloser, error) { return l.Open() },
			})
		}
	}
	_, err := layer.DiffIDs(ctx, blobs, x.opts.Progress)
	return err
}

// collect makes the statement about images whose file has the digest whole.
func collect(step string, list []seen, whole attest.DigestSet, start, end time.Time) (*attest.Statement, error) {
	out := make([]attest.Attestation, len(list))
	for i, s := range list {
		s.oci.TarDigest = whole
		out[i] = attest.Attestation{OCI: s.oci, Start: start, End: end}
	}
	return attest.Collect(step, out)
}

// digest is the digest of the file as it was given; a directory has none.
func (f *imageFile) digest(ctx context.Context) (attest.DigestSet, error) {
	switch {
	case f.tar == nil:
		return attest.DigestSet{}, nil
	case f.sum != "":
		return attest.Digests(f.sum), nil
	}
	d, err := digest.SHA256.FromReader(&cancelable{ctx, io.NewSectionReader(f.tar, 0, f.was.Size())})
	if err != nil {
		return nil, err
	}
	return attest.Digests(d), nil
}

// unchanged compares the file with what it was when it was opened. ctime
// cannot be set by a user.
func (f *imageFile) unchanged() error {
	if f.tar == nil {
		return nil
	}
	now, err := f.tar.Stat()
	if err != nil {
		return err
	}
	a, b := f.was.Sys().(*syscall.Stat_t), now.Sys().(*syscall.Stat_t)
	if a.Size != b.Size || a.Mtim != b.Mtim || a.Ctim != b.Ctim {
		return errors.New("it changed while it was read")
	}
	return nil
}
