package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"virga/image"
	"virga/registry"
	"virga/storage"
)

// listOptions is what the options of list mean.
type listOptions struct {
	ref         string // describe this image; "" lists all
	long        bool
	digests     bool
	format      string
	filters     []string
	undeletable bool // images that undelete can bring back, instead
}

func listCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "list",
		Aliases:   []string{"ls", "images"},
		Usage:     "list images",
		ArgsUsage: "[REF]",
		Description: `Without options the references are printed, one a line, sorted. With REF, what is
known of that one image is printed: here, and in its registry.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "print a table: name, tag, id, time, size, platform"},
			&cli.BoolFlag{Name: "digests", Usage: "print a table with manifest digests"},
			&cli.StringFlag{Name: "format", Usage: "print each image as `F`: json, table, or a Go template"},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only images that match `K=V`: reference, label, label!, before, since, dangling"},
			&cli.BoolFlag{Name: "undeletable", Aliases: []string{"u"}, Usage: "list deleted images that undelete can bring back"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 1, ""); err != nil {
				return err
			}
			return runList(c.Context, env, listOptions{
				ref: c.Args().First(), long: c.Bool("long"), digests: c.Bool("digests"),
				format: c.String("format"), filters: c.StringSlice("filter"), undeletable: c.Bool("undeletable"),
			})
		},
	}
}

func runList(ctx context.Context, env *environment, o listOptions) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	if o.ref != "" {
		return describe(ctx, env, st, o.ref)
	}
	find := st.Images
	if o.undeletable {
		find = st.Deleted
	}
	images, err := find()
	if err != nil {
		return err
	}
	for _, text := range o.filters {
		f, err := newImageFilter("list", text, imageFilters)
		if err != nil {
			return err
		}
		if images, err = f.apply(st, images); err != nil {
			return err
		}
	}
	return printImages(env.stdout, images, o)
}

// printImages prints images, sorted by reference, in the form that o asks for.
func printImages(w io.Writer, images []storage.Image, o listOptions) error {
	slices.SortFunc(images, func(a, b storage.Image) int { return strings.Compare(a.Ref, b.Ref) })
	rows := make([]imageRow, len(images))
	for i, img := range images {
		rows[i] = newImageRow(img)
	}
	switch {
	case o.format != "" && o.format != "table":
		return printRows(w, rows, o.format, "list")
	case o.format == "table" || o.long || o.digests:
		return printTable(w, rows, o.digests)
	}
	for _, r := range rows {
		if _, err := fmt.Fprintln(w, r.Reference); err != nil {
			return err
		}
	}
	return nil
}

// describe prints what is known of one image as "key: value" lines: here, and
// in its registry. That the registry cannot be asked is one of those lines.
func describe(ctx context.Context, env *environment, st *storage.Store, query string) error {
	var lines [][2]string
	name := query
	img, err := findImage(st, query)
	switch {
	case err == nil:
		if lines, err = describeStored(st, query, img); err != nil {
			return err
		}
		name = img.Ref
	case errors.Is(err, storage.ErrNotFound):
		if name, err = env.qualify(query); err != nil {
			return err
		}
		lines = [][2]string{{"in storage", "no"}}
	default:
		return err
	}
	ref, err := parseReference(name)
	if err != nil {
		return err
	}
	if len(lines) == 1 {
		lines = [][2]string{{"reference", ref.String()}, lines[0]}
	}
	lines = append(lines, env.describeRemote(ctx, ref, img)...)
	for _, l := range lines {
		if _, err := fmt.Fprintf(env.stdout, "%-13s%s\n", l[0]+":", l[1]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func describeStored(st *storage.Store, query string, img storage.Image) ([][2]string, error) {
	names, err := st.Lookup(query)
	if err != nil {
		return nil, err
	}
	row := newImageRow(img)
	lines := [][2]string{
		{"reference", img.Ref}, {"in storage", "yes"}, {"id", img.ID.String()}, {"digest", row.Digest}, {"platform", row.Platform},
		{"created", row.CreatedAt}, {"size", row.Size},
	}
	for _, n := range names[1:] {
		lines = append(lines, [2]string{"also", n.Ref})
	}
	for _, id := range img.Chain {
		lines = append(lines, [2]string{"files", st.TreePath(id)})
	}
	return lines, nil
}

// listPatience bounds how long list waits for a registry.
const listPatience = 20 * time.Second

// describeRemote is what the registry has under a reference. img is the image
// in storage, or zero.
func (env *environment) describeRemote(ctx context.Context, ref image.Reference, img storage.Image) [][2]string {
	ctx, cancel := context.WithTimeoutCause(ctx, listPatience, fmt.Errorf("no answer for %v", listPatience))
	defer cancel()
	opts, err := env.registryOptions()
	opts.Ask = registry.SourceFunc(env.environmentSecret) // nobody is asked for a password here
	opts.Retry.Attempts = 2
	client, cerr := registry.New(opts)
	err = errors.Join(err, cerr)
	var head registry.Descriptor
	var platforms []image.Platform
	if err == nil {
		defer client.Close()
		if head, err = client.Head(ctx, ref); err == nil {
			platforms, err = client.Platforms(ctx, ref)
		}
	}
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return [][2]string{{"in registry", "no"}}
	case err != nil:
		return [][2]string{{"in registry", "not known: " + err.Error()}}
	}
	state := "yes"
	if have := cmp.Or(img.IndexDigest, img.Digest); have != "" {
		state = "yes, the same"
		if have != head.Digest {
			state = "yes, another than in storage"
		}
	}
	lines := [][2]string{{"in registry", state}, {"digest there", head.Digest.String()}}
	for _, p := range platforms {
		note := ""
		if env.globals.platform.Matches(p) {
			note = " (this one)"
		}
		lines = append(lines, [2]string{"available", p.String() + note})
	}
	return lines
}
