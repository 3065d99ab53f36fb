package main

import "github.com/urfave/cli/v2"

func shellCommand(env *environment) *cli.Command {
	o := &runOptions{shell: true}
	return &cli.Command{
		Name:        "shell",
		Usage:       "run an interactive shell in an image",
		ArgsUsage:   "IMAGE",
		Description: "The image's SHELL is run, /bin/sh if it states none. Exit status as for run.",
		Flags:       runFlags(o),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "IMAGE"); err != nil {
				return err
			}
			if err := o.read(env, c); err != nil {
				return err
			}
			return runRun(c.Context, env, *o)
		},
	}
}
