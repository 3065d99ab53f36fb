package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"virga/image"
)

func tagCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "tag",
		Usage:       "give an image further names",
		ArgsUsage:   "SRC DST...",
		Description: "A DST that is the name of another image becomes the name of this one.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 2, -1, "SRC or DST"); err != nil {
				return err
			}
			dst, err := parseReferences(c.Args().Tail())
			if err != nil {
				return err
			}
			return runTag(c.Context, env, c.Args().First(), dst)
		},
	}
}

func runTag(ctx context.Context, env *environment, src string, dst []image.Reference) error {
	for _, d := range dst {
		if d.Digest != "" {
			return usagef("tag: %s: a digest is not given, it follows from the image", d)
		}
	}
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	img, err := findImage(st, src)
	if err != nil {
		return err
	}
	for _, d := range dst {
		if err := st.Tag(ctx, img, d); err != nil {
			return err
		}
	}
	return nil
}
