package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

func completionCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a completion script for a shell",
		ArgsUsage:   "bash|zsh|fish",
		Description: "To use it in this session: . <(virga completion bash)",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "SHELL"); err != nil {
				return err
			}
			return runCompletion(c.Context, env, c.App, c.Args().First())
		},
	}
}

func runCompletion(_ context.Context, _ *environment, _ *cli.App, _ string) error {
	return errNotYet("completion")
}
