package build

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"

	"virga/image"
	"virga/internal/inroot"
	"virga/storage"
	"virga/unpriv"
)

// origin is where a COPY, an ADD or a bind mount reads: the context, a stage
// or an image. It is opened only if it must be looked at.
type origin struct {
	b *builder
	// key identifies a stage's or image's files; "" for the context, which
	// may change under the same name.
	key   string
	chain []storage.TreeID

	src     *source
	mounted string
}

// origin finds what --from names: "" is the context; else an earlier stage by
// name or number; else an image.
func (s *stage) origin(ctx context.Context, from string) (*origin, error) {
	if from == "" {
		if s.b.Context == nil {
			return &origin{b: s.b}, nil
		}
		src, err := s.b.context()
		return &origin{b: s.b, src: src}, err
	}
	if n, ok := s.b.Named[from]; ok && n.Root != nil {
		return &origin{b: s.b, src: s.b.directory(from, n.Root)}, nil
	}
	if n, ok := s.b.graph.byName(from, s.num, true); ok && !s.b.named(from) {
		other := s.b.stages[n]
		if err := other.start(ctx); err != nil {
			return nil, err
		}
		s.missed = s.missed || other.missed
		return &origin{b: s.b, key: other.key, chain: other.chain}, nil
	}
	img, err := s.b.base(ctx, from, "")
	if err != nil {
		return nil, fmt.Errorf("--from=%s is no stage above, so an image: %w", from, err)
	}
	config, err := s.b.store.Config(img)
	if err != nil {
		return nil, err
	}
	if err := s.b.store.Pin(ctx, img.Chain...); err != nil {
		return nil, err
	}
	return &origin{b: s.b, key: baseKey(config, s.b.Chroot), chain: img.Chain}, nil
}

// open gives the origin's files.
func (o *origin) open(ctx context.Context) (*source, error) {
	if o.src != nil {
		return o.src, nil
	}
	if o.key == "" {
		return nil, errNoContext
	}
	if err := o.b.fetch(ctx, o.chain); err != nil {
		return nil, err
	}
	owners, err := o.b.chainOwners(o.chain)
	if err != nil {
		return nil, err
	}
	dir, err := o.dir(ctx)
	if err != nil {
		return nil, err
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return nil, err
	}
	o.src = &source{root: root, owners: owners}
	return o.src, nil
}

// dir is a directory with the files of the chain, a mount if it has several
// trees.
func (o *origin) dir(ctx context.Context) (string, error) {
	switch {
	case o.mounted != "":
		return o.mounted, nil
	case len(o.chain) == 0:
		return o.b.stub(false)
	case len(o.chain) == 1:
		return o.b.store.TreePath(o.chain[0]), nil
	case !o.b.overlayWorks(ctx):
		return o.b.flatCopy(ctx, o.chain)
	}
	lowers, err := o.b.store.Lowers(ctx, o.chain)
	if err != nil {
		return "", err
	}
	dir, err := o.b.work.Sub(fmt.Sprintf("view%d", o.b.snaps.Add(1)))
	if err != nil {
		return "", err
	}
	if err := unpriv.MountOverlay(dir, unpriv.Overlay{Lower: lowers}); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	o.mounted = dir
	return dir, nil
}

// close lets go of what open and dir took.
func (o *origin) close(context.Context) error {
	if o.key == "" {
		return nil
	}
	var err error
	if o.src != nil {
		err = o.src.root.Close()
		o.src = nil
	}
	if o.mounted != "" {
		err = errors.Join(err, unpriv.Unmount(o.mounted), os.Remove(o.mounted))
		o.mounted = ""
	}
	return err
}

// context is the build context as a source. Its file digests are remembered
// under its path: two contexts never share a memo, so that neither grows
// with the other.
func (b *builder) context() (*source, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctxSrc != nil {
		return b.ctxSrc, nil
	}
	ignore, err := loadIgnore(b.Context, b.Dockerfile)
	if err != nil {
		return nil, err
	}
	h := fnv.New64a()
	h.Write([]byte(b.Context.Name()))
	b.ctxSrc = &source{
		root: b.Context, ignore: filter{ignore},
		digests: openMemo(b.store.NotePath(fmt.Sprintf("files-%016x", h.Sum64()))),
	}
	return b.ctxSrc, nil
}

// directory is a --build-context as a source.
func (b *builder) directory(name string, root *inroot.Root) *source {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dirs[name] == nil {
		b.dirs[name] = &source{root: root}
	}
	return b.dirs[name]
}

// base finds or pulls the image that FROM or --from names.
func (b *builder) base(ctx context.Context, name, platform string) (*storage.Image, error) {
	if n, ok := b.Named[name]; ok {
		if n.Root != nil {
			return nil, fmt.Errorf("FROM %s: this --build-context is a directory, not an image; virga import makes one of it", name)
		}
		name = n.Image
	}
	ref, err := b.reference(name)
	if err != nil {
		return nil, err
	}
	want := b.Platform
	if platform != "" {
		if want, err = image.ParsePlatform(platform); err != nil {
			return nil, err
		}
	}
	if b.DryRun {
		return b.store.Image(ref)
	}
	img, err := b.bases.Base(ctx, ref, want)
	if err == nil {
		b.usedImage(ref, img)
	}
	return img, err
}

// reference reads the name of an image: of one in storage if there is such a
// one, else of one in a registry.
func (b *builder) reference(name string) (image.Reference, error) {
	ref, err := image.ParseReference(name)
	if err != nil || b.Qualify == nil {
		return ref, err
	}
	if _, err := b.store.Image(ref); !errors.Is(err, storage.ErrNotFound) {
		return ref, nil
	}
	if name, err = b.Qualify(name); err != nil {
		return ref, err
	}
	return image.ParseReference(name)
}
