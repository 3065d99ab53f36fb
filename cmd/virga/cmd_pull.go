package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"virga/image"
)

// pullOptions is what the options of pull mean.
type pullOptions struct {
	ref       image.Reference
	dir       string // absolute; unpack here and keep no image
	lastLayer int    // 0: all
	parseOnly bool
}

func pullCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "pull",
		Usage:     "pull an image from a registry",
		ArgsUsage: "REF [DIR]",
		Description: `The image is verified, flattened into one directory and kept in storage. With
DIR it is unpacked there, and no image is kept.`,
		Flags: []cli.Flag{
			intFlag("last-layer", "", "unpack only the first `N` layers"),
			&cli.BoolFlag{Name: "parse-only", Usage: "print the parts of REF and stop"},
		},
		Action: func(c *cli.Context) error {
			opts, err := newPullOptions(env, c)
			if err != nil {
				return err
			}
			return runPull(c.Context, env, opts)
		},
	}
}

func newPullOptions(env *environment, c *cli.Context) (pullOptions, error) {
	o := pullOptions{parseOnly: c.Bool("parse-only")}
	if err := wantArgs(c, 1, 2, "REF"); err != nil {
		return o, err
	}
	var err error
	if o.lastLayer, err = intOption(c, "last-layer", 1, 0); err != nil {
		return o, err
	}
	if d := c.Args().Get(1); d != "" {
		o.dir = env.abs(d)
	}
	o.ref, err = parseReference(c.Args().First())
	return o, err
}

func runPull(_ context.Context, _ *environment, _ pullOptions) error {
	return errNotYet("pull")
}
