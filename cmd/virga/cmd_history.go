package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

func historyCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "print how an image was made",
		ArgsUsage: "REF",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "REF"); err != nil {
				return err
			}
			return runHistory(c.Context, env, c.Args().First())
		},
	}
}

func runHistory(_ context.Context, _ *environment, _ string) error { return errNotYet("history") }
