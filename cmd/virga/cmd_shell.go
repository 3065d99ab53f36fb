package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"virga/build"
	"virga/fakeroot"
	"virga/image"
	"virga/storage"
	"virga/unpriv"
)

func shellCommand(env *environment) *cli.Command {
	o := &runOptions{shell: true}
	return &cli.Command{
		Name:      "shell",
		Usage:     "run an interactive shell in an image",
		ArgsUsage: "IMAGE",
		Description: `The image's SHELL is run, /bin/sh if it states none. Exit status as for run.
With --state there is no IMAGE: the shell is in the files, the environment and
the directory that the RUN of a failed build had, as root; the build's error
message tells the ID. Changes are forgotten at the end.`,
		Flags: runFlags(o),
		Action: func(c *cli.Context) error {
			if o.state = c.String("state"); o.state != "" {
				if err := wantArgs(c, 0, 0, ""); err != nil {
					return err
				}
				return runState(c, env, o)
			}
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

// runState is run and shell --state: as root, as in the build.
func runState(c *cli.Context, env *environment, o *runOptions) error {
	if c.Bool("write") {
		return usagef("%s: --write and --state exclude each other: states never change", c.Command.Name)
	}
	if err := o.readOptions(env, c); err != nil {
		return err
	}
	o.writeFake = true
	if !c.IsSet("force") {
		o.force = fakeroot.ModeSeccomp
	}
	return runRun(c.Context, env, *o)
}

// kept is the state before a RUN that failed. Its environment is the RUN's.
func (o *runOptions) kept(ctx context.Context, env *environment, store *storage.Store) (*unpriv.Image, *image.RunConfig, error) {
	k, err := build.FindKept(ctx, store, o.state)
	if err != nil {
		return nil, nil, err
	}
	env.log.Info(fmt.Sprintf("this is before: %s", k.Written))
	im := &unpriv.Image{}
	o.chain = k.Chain
	for _, id := range slices.Backward(k.Chain) {
		im.Lower = append(im.Lower, store.TreePath(id))
	}
	return im, &k.Run, nil
}
