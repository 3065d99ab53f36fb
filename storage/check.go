package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/umoci/oci/cas/dir"
	"github.com/opencontainers/umoci/oci/casext"
)

// Problem is something wrong in storage.
type Problem struct {
	Object string // e.g. `image "debian:12"`
	Detail string
}

// String returns "object: detail".
func (p Problem) String() string { return p.Object + ": " + p.Detail }

// CheckOptions are Check's; the zero value checks everything.
type CheckOptions struct {
	Quick bool // compare the sizes of blobs, not their digests
}

// Check looks for what is wrong: records that cannot be read or whose trees
// and blobs are missing, blobs that are not what their digests say, an OCI
// image layout that umoci does not accept, links and directories that are
// left over. A directory that others are changing meanwhile may show problems
// that are none. The error is for what kept Check from looking.
func (s *Store) Check(ctx context.Context, opts CheckOptions) ([]Problem, error) {
	c := &checker{s: s, opts: opts, badBlob: map[digest.Digest]bool{}}
	for _, step := range []func(context.Context) error{
		c.top, c.sessions, c.trees, c.blobs, c.images, c.states, c.links, c.layout,
	} {
		if err := step(ctx); err != nil {
			return c.found, fmt.Errorf("check storage: %w", err)
		}
	}
	return c.found, nil
}

// checker is one Check.
type checker struct {
	s       *Store
	opts    CheckOptions
	found   []Problem
	badBlob map[digest.Digest]bool // reported already
}

func (c *checker) report(object, format string, a ...any) {
	c.found = append(c.found, Problem{object, fmt.Sprintf(format, a...)})
}

// top looks at the names in the storage directory.
func (c *checker) top(context.Context) error {
	entries, err := os.ReadDir(c.s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isKnown(e.Name()) {
			c.report(fmt.Sprintf("file %q", e.Name()), "not a part of storage")
		}
	}
	for _, d := range skeleton {
		if st, err := os.Lstat(c.s.path(d)); err != nil || !st.IsDir() {
			c.report(fmt.Sprintf("directory %q", d), "missing")
		}
	}
	return nil
}

func (c *checker) sessions(context.Context) error {
	dead, err := c.s.deadSessions()
	if err != nil {
		return err
	}
	for _, d := range dead {
		c.report(fmt.Sprintf("work %q", filepath.Base(d)), "left by a process that has ended")
	}
	return nil
}

func (c *checker) trees(ctx context.Context) error {
	entries, err := os.ReadDir(c.s.path(treesDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := TreeID(e.Name())
		object := "tree " + e.Name()
		if id.check() != nil {
			c.report(object, "not the name of a tree")
			continue
		}
		if t, durable, err := c.s.readTree(id); err != nil {
			c.report(object, "%v", err)
		} else if !c.s.trusted(durable, t.BootID) {
			c.report(object, "%v", ErrNotDurable)
		}
		if st, err := os.Lstat(c.s.TreePath(id)); err != nil || !st.IsDir() {
			c.report(object, "its files are missing")
		}
		if _, err := c.s.Owners(id); err != nil {
			c.report(object, "%v", err)
		}
	}
	return nil
}

func (c *checker) blobs(ctx context.Context) error {
	entries, err := os.ReadDir(c.s.path(blobsDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		if checkDigest(d) != nil {
			c.report(fmt.Sprintf("blob %q", e.Name()), "not the name of a blob")
			continue
		}
		if c.opts.Quick {
			continue
		}
		switch err := c.s.verifyBlob(ctx, d); {
		case ctx.Err() != nil:
			return err
		case errors.Is(err, ErrCorrupt):
			c.badBlob[d] = true
			c.report("blob "+d.String(), "damaged")
		case err != nil && !errors.Is(err, ErrNotFound):
			c.report("blob "+d.String(), "%v", err)
		}
	}
	return nil
}

func (c *checker) images(context.Context) error {
	for _, d := range []string{imagesDir, deletedDir} {
		entries, err := os.ReadDir(c.s.path(d))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() && d == imagesDir && e.Name() == filepath.Base(deletedDir) {
				continue
			}
			path := c.s.path(d, e.Name())
			img, durable, err := readImage(path, nil)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				c.report(fmt.Sprintf("image record %q", e.Name()), "%v", err)
			case d == imagesDir: // what was deleted may be incomplete
				c.image(img, durable)
			}
		}
	}
	return nil
}

func (c *checker) image(img *Image, durable bool) {
	object := fmt.Sprintf("image %q", img.Ref)
	if !c.s.trusted(durable, img.BootID) {
		c.report(object, "%v", ErrNotDurable)
	}
	for _, id := range img.trees() {
		if _, err := c.s.Tree(id); err != nil {
			c.report(object, "%v", err)
		}
	}
	for _, d := range c.s.imageBlobs(img) {
		if _, err := c.s.StatBlob(d); err != nil {
			c.report(object, "%v", err)
		}
	}
}

func (c *checker) states(ctx context.Context) error {
	return c.s.eachState(ctx, func(path string) error {
		object := fmt.Sprintf("state %q", strings.TrimSuffix(filepath.Base(path), ".json"))
		st, _, err := readState(path, nil)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			c.report(object, "%v", err)
		case !c.s.haveTrees(st.Chain):
			c.report(object, "its trees are missing")
		}
		return nil
	})
}

// links compares img/ with the image records.
func (c *checker) links(context.Context) error {
	images, err := c.s.records(imagesDir)
	if err != nil {
		return err
	}
	want := map[string]TreeID{}
	for _, r := range images {
		ref, err := r.img.Reference()
		if err != nil {
			return err
		}
		if id := r.img.one(); id != "" {
			want[fileName(ref)] = id
		}
	}
	entries, err := os.ReadDir(c.s.path(imgDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		target, err := os.Readlink(c.s.path(imgDir, e.Name()))
		if id := want[e.Name()]; err == nil && id != "" && target == linkTarget(id) {
			delete(want, e.Name())
			continue
		}
		c.report(fmt.Sprintf("link %q", "img/"+e.Name()), "does not belong to an image")
	}
	for name := range want {
		c.report(fmt.Sprintf("link %q", "img/"+name), "missing")
	}
	return nil
}

// layout has umoci read the directory as an OCI image layout.
func (c *checker) layout(ctx context.Context) error {
	engine, err := dir.Open(c.s.dir)
	if err != nil {
		c.report("OCI image layout", "%v", err)
		return nil
	}
	defer engine.Close()
	x, err := engine.GetIndex(ctx)
	if err != nil {
		c.report("OCI image layout", "%v", err)
		return nil
	}
	ext := casext.NewEngine(engine)
	for _, desc := range x.Manifests {
		object := fmt.Sprintf("OCI image %q", desc.Annotations[v1.AnnotationRefName])
		if !c.verified(ctx, ext, object, desc) {
			continue
		}
		m, _, err := c.s.readManifest(desc.Digest)
		if err != nil {
			c.report(object, "%v", err)
			continue
		}
		for _, d := range append(m.Layers, m.Config) {
			c.verified(ctx, ext, object, d)
		}
	}
	return ctx.Err()
}

// verified reports whether umoci finds the blob of a descriptor sound.
func (c *checker) verified(ctx context.Context, ext casext.Engine, object string, desc v1.Descriptor) bool {
	n, err := c.s.StatBlob(desc.Digest)
	if err != nil {
		c.report(object, "%v", err)
		return false
	}
	if n != desc.Size {
		c.report(object, "blob %s has %d bytes instead of %d", desc.Digest, n, desc.Size)
		return false
	}
	if c.opts.Quick || c.badBlob[desc.Digest] {
		return !c.badBlob[desc.Digest]
	}
	r, err := ext.GetVerifiedBlob(ctx, desc)
	if err == nil {
		err = errors.Join(copyContext(ctx, io.Discard, r), r.Close())
	}
	if err != nil {
		c.report(object, "blob %s: %v", desc.Digest, err)
	}
	return err == nil
}
