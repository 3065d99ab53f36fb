package main

import (
	"context"
	"path"

	"github.com/urfave/cli/v2"
)

// runOptions is what the options of run and shell mean.
type runOptions struct {
	image      string   // name in storage, directory or SquashFS file, as given
	command    []string // empty: the image's ENTRYPOINT and CMD
	shell      bool     // command shell: the image's SHELL
	binds      []bind
	cd         string // "" is the image's WORKDIR
	vars       []orderedOption
	write      bool
	writeFake  bool
	home       bool
	uid, gid   int // -1: what the default is
	entrypoint *string
	mountDir   string // absolute; where a SquashFS file is mounted
}

const runDescription = `Options end at IMAGE: what follows is the program and its own options. Without
a program, the image's ENTRYPOINT and CMD are run. The exit status is the
program's; 128+N if signal N ended it, 125 if virga failed, 126 if the program
cannot be executed, 127 if there is none.`

func runCommand(env *environment) *cli.Command {
	o := &runOptions{}
	return &cli.Command{
		Name:        "run",
		Usage:       "run a program in an image",
		ArgsUsage:   "IMAGE [CMD [ARG...]]",
		Description: runDescription,
		Flags:       append(runFlags(o), &cli.StringFlag{Name: "entrypoint", Usage: "run the program `P` instead of the image's ENTRYPOINT"}),
		Action: func(c *cli.Context) error {
			if err := o.read(env, c); err != nil {
				return err
			}
			o.command = c.Args().Tail()
			return runRun(c.Context, env, *o)
		},
	}
}

func runFlags(o *runOptions) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "bind", Aliases: []string{"b"}, Usage: "mount the host's SRC: `SRC[:DST[:ro]]`"},
		&cli.StringFlag{Name: "cd", Aliases: []string{"c"}, Usage: "start in the directory `DIR`"},
		orderedFlag(&o.vars, "env", "set the variable `K=V`"),
		orderedFlag(&o.vars, "env-file", "set the variables in `FILE`, K=V lines"),
		&optionalOrderedFlag{Flag: orderedFlag(&o.vars, "set-env", "set variables from `FILE|K=V`; without it, those of the image")},
		orderedFlag(&o.vars, "unset-env", "remove the variables that match `GLOB`"),
		&cli.BoolFlag{Name: "write", Aliases: []string{"w"}, Usage: "changes go to the image"},
		&cli.BoolFlag{Name: "write-fake", Aliases: []string{"W"}, Usage: "changes are allowed and forgotten at the end"},
		&cli.BoolFlag{Name: "home", Usage: "mount the home directory"},
		intFlag("uid", "u", "be user number `UID` inside"),
		intFlag("gid", "g", "be group number `GID` inside"),
		&cli.StringFlag{Name: "mount-dir", Usage: "mount a SquashFS image on `DIR`"},
	}
}

// read fills o from everything but the program's words.
func (o *runOptions) read(env *environment, c *cli.Context) error {
	if err := wantArgs(c, 1, -1, "IMAGE"); err != nil {
		return err
	}
	o.image = c.Args().First()
	o.cd = c.String("cd")
	o.write, o.writeFake, o.home = c.Bool("write"), c.Bool("write-fake"), c.Bool("home")
	if c.IsSet("entrypoint") {
		e := c.String("entrypoint")
		o.entrypoint = &e
	}
	if d := c.String("mount-dir"); d != "" {
		o.mountDir = env.abs(d)
	}
	if o.write && o.writeFake {
		return usagef("%s: --write and --write-fake exclude each other", c.Command.Name)
	}
	if o.cd != "" && !path.IsAbs(o.cd) {
		return usagef("%s: --cd %q is not an absolute path", c.Command.Name, o.cd)
	}
	var err error
	if o.uid, err = intOption(c, "uid", 0, -1); err != nil {
		return err
	}
	if o.gid, err = intOption(c, "gid", 0, -1); err != nil {
		return err
	}
	o.binds, err = parseBinds(env, c.StringSlice("bind"))
	return err
}

func runRun(_ context.Context, _ *environment, _ runOptions) error {
	return &statusError{code: exitRunFailed, err: errNotYet("run")}
}
