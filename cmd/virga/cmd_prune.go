package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"virga/storage"
)

// pruneOptions is what the options of prune mean.
type pruneOptions struct {
	policy storage.Policy
	images []imageFilter // images to delete first: all of these hold
}

func pruneCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "free disk space",
		Description: `What no image and no cached build needs is removed; with --all, what no image
needs: the build cache and the directories of RUN --mount=type=cache. Images are
never removed, unless a filter chooses some by name or label. What a running
virga uses stays. Nothing is asked.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "remove all of the build cache that is not part of an image"},
			&cli.StringFlag{Name: "keep-storage", Usage: "remove the least recently used of the cache until it is no larger than `SIZE`"},
			&cli.StringSliceFlag{Name: "filter", Usage: "only what matches `K=V`: until; with --all also reference, label, label!"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be freed, do nothing"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "accepted for scripts written for others, which ask"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			o, err := newPruneOptions(c, time.Now())
			if err != nil {
				return err
			}
			return runPrune(c.Context, env, o)
		},
	}
}

func newPruneOptions(c *cli.Context, now time.Time) (pruneOptions, error) {
	o := pruneOptions{policy: storage.Policy{All: c.Bool("all"), DryRun: c.Bool("dry-run")}}
	if c.IsSet("keep-storage") {
		n, err := parseSize(c.String("keep-storage"))
		if err != nil {
			return o, usagef("prune: --keep-storage %v", err)
		}
		o.policy.KeepStorage = n
		if n == 0 {
			o.policy.All = true
		}
	}
	for _, f := range c.StringSlice("filter") {
		if err := o.filter(f, now); err != nil {
			return o, err
		}
	}
	switch {
	case len(o.images) == 0:
	case !o.policy.All:
		return o, &usageError{
			msg:  "prune: a filter by name or label chooses images, and every image has a name",
			hint: "with --all, images that match are deleted, and their part of the build cache",
		}
	case o.policy.KeepStorage > 0:
		return o, usagef("prune: --keep-storage and a filter by name or label exclude each other")
	}
	return o, nil
}

// pruneFilters are the keys of prune's filters.
var pruneFilters = []string{"until", "reference", "label", "label!"}

// filter takes one --filter.
func (o *pruneOptions) filter(f string, now time.Time) error {
	if value, ok := strings.CutPrefix(f, "until="); ok {
		t, err := parseSince(value, now)
		if err != nil {
			return usagef("prune: --filter until=%s: %v", value, err)
		}
		o.policy.Until = t
		return nil
	}
	i, err := newImageFilter("prune", f, pruneFilters)
	if err != nil {
		return err
	}
	o.images = append(o.images, i)
	return nil
}

func runPrune(ctx context.Context, env *environment, o pruneOptions) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	var images []storage.Image
	if len(o.images) > 0 {
		if images, err = o.choose(st); err != nil {
			return err
		}
		o.policy.Of = ownTrees(images)
		if images, err = deleteImages(ctx, st, images, o.policy.DryRun); err != nil {
			return err
		}
	}
	freed, err := st.Collect(ctx, o.policy)
	if err != nil {
		return err
	}
	if env.globals.verbosity < 0 {
		return nil
	}
	return printFreed(env.stdout, images, freed, o.policy.DryRun)
}

// choose returns the images that all filters let through and that are older
// than until.
func (o *pruneOptions) choose(st *storage.Store) ([]storage.Image, error) {
	images, err := st.Images()
	for _, f := range o.images {
		if err == nil {
			images, err = f.apply(st, images)
		}
	}
	if until := o.policy.Until; !until.IsZero() {
		images = slices.DeleteFunc(images, func(i storage.Image) bool { return i.Created.After(until) })
		o.policy.Until = time.Time{} // the images are as old as that, and so is what they are made of
	}
	return images, err
}

func ownTrees(images []storage.Image) map[storage.TreeID]bool {
	out := map[storage.TreeID]bool{}
	for _, i := range images {
		for _, id := range i.Chain {
			out[id] = true
		}
	}
	return out
}

// deleteImages deletes images by their names and returns those that were
// there.
func deleteImages(ctx context.Context, st *storage.Store, images []storage.Image, dryRun bool) ([]storage.Image, error) {
	if dryRun || len(images) == 0 {
		return images, nil
	}
	refs := make([]string, len(images))
	for i, img := range images {
		refs[i] = img.Ref
	}
	deleted, _, err := st.Delete(ctx, refs...)
	return deleted, err
}

// printFreed tells what prune did.
func printFreed(w io.Writer, images []storage.Image, f storage.Freed, dryRun bool) error {
	var b strings.Builder
	for _, i := range images {
		fmt.Fprintln(&b, "Image: "+i.Ref)
	}
	for _, l := range []struct {
		name string
		n    int
	}{{"Cached results", f.States}, {"Trees", f.Trees}, {"Blobs", f.Blobs}, {"Cache mounts", f.Mounts}} {
		if l.n > 0 {
			fmt.Fprintf(&b, "%s: %d\n", l.name, l.n)
		}
	}
	what := "Total reclaimed space"
	if dryRun {
		what = "Total reclaimable space"
	}
	fmt.Fprintf(&b, "%s: %s\n", what, humanSize(f.Bytes))
	_, err := io.WriteString(w, b.String())
	return err
}
