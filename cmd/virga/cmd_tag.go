package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"virga/image"
)

func tagCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "tag",
		Usage:     "give an image further names",
		ArgsUsage: "SRC DST...",
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

func runTag(_ context.Context, _ *environment, _ string, _ []image.Reference) error {
	return errNotYet("tag")
}
