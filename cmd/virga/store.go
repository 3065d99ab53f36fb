package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"virga/progress"
	"virga/storage"
)

// openStorage opens the storage directory, and makes it if it is missing.
// The caller closes it.
func (env *environment) openStorage(ctx context.Context) (*storage.Store, error) {
	dir, err := env.storageDir()
	if err != nil {
		return nil, err
	}
	return storage.Open(ctx, dir, env.storageOptions())
}

func (env *environment) storageOptions() storage.Options {
	return storage.Options{NoLock: env.globals.noLock, Log: env.log}
}

// closeStorage ends what openStorage began. What was done is done by then, so
// a failure is only told.
func (env *environment) closeStorage(st *storage.Store) {
	if err := st.Close(); err != nil {
		env.log.Warn("close storage", "err", err)
	}
}

// cacheLimit is $VIRGA_CACHE_MAX in bytes; nil: no bound.
func (env *environment) cacheLimit() (*int64, error) {
	v := env.getenv("VIRGA_CACHE_MAX")
	if v == "" {
		return nil, nil
	}
	n, err := parseSize(v)
	if err != nil {
		return nil, &usageError{msg: fmt.Sprintf("$VIRGA_CACHE_MAX: %v", err)}
	}
	return &n, nil
}

// boundCache removes what was used longest ago from a build cache that has
// become larger than limit. What was just used is no longer held on to then;
// it is what was used last. Nothing that fails here makes a build fail.
func (env *environment) boundCache(ctx context.Context, limit int64) {
	st, err := env.openStorage(ctx)
	if err == nil {
		defer env.closeStorage(st)
		var freed storage.Freed
		if freed, err = st.Bound(ctx, limit); freed.Bytes > 0 {
			env.log.Debug("build cache bounded", "max", humanSize(limit), "freed", humanSize(freed.Bytes))
		}
	}
	if err != nil && ctx.Err() == nil {
		env.log.Warn("bound the build cache", "err", err)
	}
}

// findImage returns the image that query names. Several names of one image
// are that image under the first of them.
func findImage(st *storage.Store, query string) (storage.Image, error) {
	found, err := st.Lookup(query)
	if err != nil {
		return storage.Image{}, err
	}
	if len(found) == 0 {
		return storage.Image{}, &storage.NotFoundError{Query: query}
	}
	return found[0], nil
}

// shortID is the first twelve digits of a digest, docker's short form.
func shortID(d digest.Digest) string {
	if d == "" {
		return "<none>"
	}
	hex := d.Encoded()
	return hex[:min(12, len(hex))]
}

// humanSize writes a number of bytes for people.
func humanSize(n int64) string { return progress.Bytes(n) }

// layersOf are the layers of an image, bottom first, with the bytes of files
// each one holds, or -1 if only the sum of several is known.
func layersOf(st *storage.Store, img storage.Image) ([]imageLayer, error) {
	var out []imageLayer
	for _, id := range img.Chain {
		t, err := st.Tree(id)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", img.Ref, err)
		}
		for _, l := range t.Layers {
			il := imageLayer{diffID: l.DiffID, bytes: -1, packed: l.Size}
			if len(t.Layers) == 1 {
				il.bytes = t.Bytes
			}
			out = append(out, il)
		}
		if len(t.Layers) == 0 {
			out = append(out, imageLayer{bytes: t.Bytes})
		}
	}
	return out, nil
}

type imageLayer struct {
	diffID digest.Digest // "": not packed yet
	bytes  int64         // of files, -1: not known
	packed int64         // compressed, 0: not known
}

// namesOf are the references of all images that are the same image as img.
func namesOf(all []storage.Image, img storage.Image) []string {
	var out []string
	for _, o := range all {
		if o.ID == img.ID {
			out = append(out, o.Ref)
		}
	}
	slices.Sort(out)
	return out
}
