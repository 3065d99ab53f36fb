package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"virga/build"
	"virga/storage"
)

// buildCacheOptions is what the options of build-cache mean.
type buildCacheOptions struct {
	reset, gc, tree bool
	dot             string // file to write, "-" for standard output, "" not at all
}

func buildCacheCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "build-cache",
		Usage: "show and clean the build cache",
		Description: `Without options, a summary. Options are carried out in this order: --reset, --gc,
--tree, --dot.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "reset", Usage: "forget every cached result and the directories of RUN --mount=type=cache"},
			&cli.BoolFlag{Name: "gc", Usage: "remove what neither an image nor the cache needs"},
			&cli.BoolFlag{Name: "tree", Usage: "print the cached instructions as a tree"},
			&optionalFlag{StringFlag: &cli.StringFlag{Name: "dot", Usage: "write the tree for Graphviz to `F`, or to standard output"}, implied: "-"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			return runBuildCache(c.Context, env, buildCacheOptions{reset: c.Bool("reset"), gc: c.Bool("gc"), tree: c.Bool("tree"), dot: c.String("dot")})
		},
	}
}

func runBuildCache(ctx context.Context, env *environment, o buildCacheOptions) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	if o.reset || o.gc {
		freed, err := st.Collect(ctx, storage.Policy{ResetCache: o.reset, Mounts: o.reset})
		if err != nil {
			return err
		}
		env.log.Info("freed " + humanSize(freed.Bytes))
	}
	if (o.reset || o.gc) && !o.tree && o.dot == "" {
		return nil
	}
	u, err := st.Du(ctx)
	if err != nil {
		return err
	}
	if !o.tree && o.dot == "" {
		return printCacheSummary(env.stdout, u)
	}
	return showCacheTree(env, st, u, o)
}

// printCacheSummary prints what ch-image's build-cache does.
func printCacheSummary(w io.Writer, u *storage.Usage) error {
	used := 0
	for _, s := range u.ByState {
		if len(s.Images) > 0 {
			used++
		}
	}
	total, _ := u.Total()
	for _, l := range []struct{ name, value string }{
		{"named images", fmt.Sprint(u.Images.Count)},
		{"state IDs", fmt.Sprint(u.Cache.Count)},
		{"of images", fmt.Sprint(used)},
		{"cache mounts", fmt.Sprint(u.Mounts.Count)},
		{"cache alone", humanSize(u.Cache.Bytes + u.Mounts.Bytes)},
		{"disk used", humanSize(total)},
	} {
		if _, err := fmt.Fprintf(w, "%-14s%s\n", l.name+":", l.value); err != nil {
			return err
		}
	}
	return nil
}

func showCacheTree(env *environment, st *storage.Store, u *storage.Usage, o buildCacheOptions) error {
	images := make([]storage.Image, len(u.ByImage))
	for i, img := range u.ByImage {
		images[i] = img.Image
	}
	bases, err := build.Roots(st, images)
	if err != nil {
		return err
	}
	roots := cacheForest(u, bases)
	if o.tree {
		if err := printForest(env.stdout, roots, env.glyphs(), time.Now()); err != nil {
			return err
		}
	}
	switch o.dot {
	case "":
		return nil
	case "-":
		return writeDot(env.stdout, roots)
	}
	f, err := os.Create(env.abs(o.dot))
	if err != nil {
		return err
	}
	err = writeDot(f, roots)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
