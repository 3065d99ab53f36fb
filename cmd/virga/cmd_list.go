package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

// listOptions is what the options of list mean.
type listOptions struct {
	ref     string // one image; "" is all
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
		Description: `Without options the references are printed, one a line, sorted. With REF only
images of that name are listed; REF may hold the patterns * and ?.`,
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
			return runList(c.Context, env, listOptions{ref: c.Args().First(), long: c.Bool("long"), digests: c.Bool("digests"),
				format: c.String("format"), filters: c.StringSlice("filter")})
		},
	}
}

func runList(_ context.Context, _ *environment, _ listOptions) error { return errNotYet("list") }
