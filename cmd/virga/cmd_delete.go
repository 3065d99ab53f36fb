package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

// deleteOptions is what the options of delete mean.
type deleteOptions struct {
	globs []string
	force bool // what does not exist is no error
}

func deleteCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "delete",
		Aliases:     []string{"rm", "rmi"},
		Usage:       "delete images",
		ArgsUsage:   "GLOB...",
		Description: "GLOB is a reference, an id, or a pattern with *, ? and [...] for references.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not fail for images that do not exist"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, -1, "GLOB"); err != nil {
				return err
			}
			return runDelete(c.Context, env, deleteOptions{globs: c.Args().Slice(), force: c.Bool("force")})
		},
	}
}

func runDelete(_ context.Context, _ *environment, _ deleteOptions) error { return errNotYet("delete") }
