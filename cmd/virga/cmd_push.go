package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"virga/image"
)

// pushOptions is what the options of push mean.
type pushOptions struct {
	image         string          // REF as given, looked up in storage
	dest          image.Reference // where it goes
	dir           string          // --image: push this directory instead, absolute
	flattenOwners bool
}

func pushCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "push",
		Usage:     "push an image to a registry",
		ArgsUsage: "REF [DEST]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "image", Usage: "push the directory `DIR` under the name REF"},
			&cli.BoolFlag{Name: "flatten-owners", Usage: "push every file as root:root, without setuid and setgid bits"},
		},
		Action: func(c *cli.Context) error {
			opts, err := newPushOptions(env, c)
			if err != nil {
				return err
			}
			return runPush(c.Context, env, opts)
		},
	}
}

func newPushOptions(env *environment, c *cli.Context) (pushOptions, error) {
	o := pushOptions{image: c.Args().First(), flattenOwners: c.Bool("flatten-owners")}
	if err := wantArgs(c, 1, 2, "REF"); err != nil {
		return o, err
	}
	if d := c.String("image"); d != "" {
		o.dir = env.abs(d)
	}
	dest := o.image
	if c.Args().Len() == 2 {
		dest = c.Args().Get(1)
	}
	var err error
	o.dest, err = parseReference(dest)
	return o, err
}

func runPush(_ context.Context, _ *environment, _ pushOptions) error {
	return errNotYet("push")
}
