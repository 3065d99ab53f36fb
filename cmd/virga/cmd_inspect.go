package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

func inspectCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Aliases:     []string{"image-inspect"},
		Usage:       "print everything about images, as JSON",
		ArgsUsage:   "REF...",
		Description: "The result is an array with an object for each REF, as docker image inspect prints it.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, -1, "REF"); err != nil {
				return err
			}
			return runInspect(c.Context, env, c.Args().Slice())
		},
	}
}

func runInspect(_ context.Context, _ *environment, _ []string) error { return errNotYet("inspect") }
