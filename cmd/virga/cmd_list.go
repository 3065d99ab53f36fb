package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

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
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only images that match `K=V`: reference, label, label!, before, since"},
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
		f, err := newImageFilter("list", text)
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

// describe prints what is known of one image, as "key: value" lines.
func describe(ctx context.Context, env *environment, st *storage.Store, query string) error {
	img, err := findImage(st, query)
	if err != nil {
		return err
	}
	names, err := st.Lookup(query)
	if err != nil {
		return err
	}
	row := newImageRow(img)
	lines := [][2]string{
		{"reference", img.Ref}, {"id", img.ID.String()}, {"digest", row.Digest}, {"platform", row.Platform},
		{"created", row.CreatedAt}, {"size", row.Size},
	}
	for _, n := range names[1:] {
		lines = append(lines, [2]string{"also", n.Ref})
	}
	for _, id := range img.Chain {
		lines = append(lines, [2]string{"files", st.TreePath(id)})
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(env.stdout, "%-11s%s\n", l[0]+":", l[1]); err != nil {
			return err
		}
	}
	return ctx.Err()
}
