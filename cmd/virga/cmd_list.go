package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/storage"
)

// listOptions is what the options of list mean.
type listOptions struct {
	ref     string // describe this image; "" lists all
	long    bool
	digests bool
	format  string
	filters []string
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
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only images that match `K=V`: reference, label, before, since"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 1, ""); err != nil {
				return err
			}
			return runList(c.Context, env, listOptions{
				ref: c.Args().First(), long: c.Bool("long"), digests: c.Bool("digests"),
				format: c.String("format"), filters: c.StringSlice("filter"),
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
	images, err := st.Images()
	if err != nil {
		return err
	}
	for _, f := range o.filters {
		if images, err = filterImages(st, images, f); err != nil {
			return err
		}
	}
	return printImages(env.stdout, images, o)
}

// filterImages keeps the images that one --filter lets through.
func filterImages(st *storage.Store, images []storage.Image, filter string) ([]storage.Image, error) {
	key, value, ok := strings.Cut(filter, "=")
	if !ok {
		return nil, usagef("list: --filter %q is not K=V", filter)
	}
	var keep func(storage.Image) (bool, error)
	switch key {
	case "reference":
		if _, err := path.Match(value, ""); err != nil {
			return nil, usagef("list: --filter %q: bad pattern", filter)
		}
		keep = func(i storage.Image) (bool, error) { return matchReference(value, i.Ref), nil }
	case "label":
		keep = func(i storage.Image) (bool, error) { return hasLabel(st, i, value) }
	case "before", "since":
		than, err := findImage(st, value)
		if err != nil {
			return nil, err
		}
		keep = func(i storage.Image) (bool, error) {
			if key == "before" {
				return i.Created.Before(than.Created), nil
			}
			return i.Created.After(than.Created), nil
		}
	default:
		return nil, usagef("list: --filter %q is not reference, label, before or since", key)
	}
	var out []storage.Image
	for _, i := range images {
		ok, err := keep(i)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, i)
		}
	}
	return out, nil
}

// matchReference matches a pattern with the reference as it is printed, or
// with its name without the tag.
func matchReference(pattern, ref string) bool {
	name := ref
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		name = ref[:i]
	}
	return slices.ContainsFunc([]string{ref, name}, func(s string) bool {
		ok, err := path.Match(pattern, s)
		return ok && err == nil
	})
}

func hasLabel(st *storage.Store, img storage.Image, want string) (bool, error) {
	c, err := st.Config(&img)
	if err != nil {
		return false, err
	}
	key, value, withValue := strings.Cut(want, "=")
	got, ok := c.Config.Labels[key]
	return ok && (!withValue || got == value), nil
}

// printImages prints images, sorted by reference, in the form that o asks for.
func printImages(w io.Writer, images []storage.Image, o listOptions) error {
	slices.SortFunc(images, func(a, b storage.Image) int { return strings.Compare(a.Ref, b.Ref) })
	rows := make([]imageRow, len(images))
	for i, img := range images {
		rows[i] = newImageRow(img)
	}
	switch {
	case o.format == "json":
		return printJSONLines(w, rows)
	case o.format != "" && o.format != "table":
		return printTemplate(w, rows, o.format)
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
