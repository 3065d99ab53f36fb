package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"virga/archive"
	"virga/exchange"
	"virga/fakeroot"
	"virga/image"
	"virga/storage"
	"virga/unpriv"
)

// runOptions is what the options of run and shell mean.
type runOptions struct {
	image      string   // name in storage, or directory, as given
	command    []string // empty: the image's ENTRYPOINT and CMD; with state, its SHELL
	shell      bool     // command shell: the image's SHELL
	state      string   // --state: instead of an image
	binds      []bind
	mountDir   string // where a SquashFS file is mounted; "" is a new directory
	cd         string // "" is the image's WORKDIR
	vars       []orderedOption
	write      bool
	writeFake  bool
	home       bool
	uid, gid   int // -1: what the default is
	entrypoint *string
	force      fakeroot.Mode    // ModeNone: the program is the caller
	chain      []storage.TreeID // of an image in storage, once located
}

const runDescription = `Options end at IMAGE: what follows is for the program. The image's ENTRYPOINT is
run with it; without it, with the image's CMD, as docker run does. An image
without an ENTRYPOINT runs what follows itself, as does any with --entrypoint "",
which is what ch-run does. The exit status is the program's; 128+N if signal N
ended it, 125 if virga failed, 126 if the program cannot be executed, 127 if
there is none.
With --state there is no IMAGE: the program, or a shell, is in the files, the
environment and the directory that the RUN of a failed build had, as root; the
build's error message tells the ID. Changes are forgotten at the end.`

func runCommand(env *environment) *cli.Command {
	o := &runOptions{}
	return &cli.Command{
		Name:        "run",
		Usage:       "run a program in an image",
		ArgsUsage:   "IMAGE [CMD [ARG...]]",
		Description: runDescription,
		Flags:       append(runFlags(o), &cli.StringFlag{Name: "entrypoint", Usage: "run the program `P` instead of the image's ENTRYPOINT; \"\": none"}),
		Action: func(c *cli.Context) error {
			if o.state = c.String("state"); o.state != "" {
				o.command = c.Args().Slice()
				o.shell = len(o.command) == 0 && !c.IsSet("entrypoint")
				return runState(c, env, o)
			}
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
		&cli.StringFlag{Name: "mount-dir", Aliases: []string{"m"}, Usage: "mount a SquashFS file at the directory `DIR`"},
		intFlag("uid", "u", "be user number `UID` inside"),
		intFlag("gid", "g", "be group number `GID` inside"),
		&optionalFlag{StringFlag: &cli.StringFlag{Name: "force", Value: "none",
			Usage: "be root, emulated as in RUN by `MODE`: seccomp, consistent, plain or none"}, implied: "seccomp", values: runModes()},
		&cli.StringFlag{Name: "state", Usage: "look around in the state `ID` before a RUN that failed"},
	}
}

// runModes are the modes of root emulation that work without an installation
// of fakeroot(1) in the image.
func runModes() []string {
	return slices.DeleteFunc(slices.Clone(fakeroot.Modes()), func(m string) bool { return m == fakeroot.ModeFakeroot.String() })
}

// read fills o from everything but the program's words.
func (o *runOptions) read(env *environment, c *cli.Context) error {
	if err := wantArgs(c, 1, -1, "IMAGE"); err != nil {
		return err
	}
	o.image = c.Args().First()
	return o.readOptions(env, c)
}

func (o *runOptions) readOptions(env *environment, c *cli.Context) error {
	o.cd = c.String("cd")
	if d := c.String("mount-dir"); d != "" {
		o.mountDir = env.abs(d)
	}
	o.write, o.writeFake, o.home = c.Bool("write"), c.Bool("write-fake"), c.Bool("home")
	if c.IsSet("entrypoint") {
		e := c.String("entrypoint")
		o.entrypoint = &e
	}
	if o.write && o.writeFake {
		return usagef("%s: --write and --write-fake exclude each other", c.Command.Name)
	}
	if o.cd != "" && !path.IsAbs(o.cd) {
		return usagef("%s: --cd %q is not an absolute path", c.Command.Name, o.cd)
	}
	var err error
	if o.force, err = fakeroot.ParseMode(c.String("force")); err != nil {
		return err
	}
	if o.uid, err = intOption(c, "uid", 0, -1); err != nil {
		return err
	}
	if o.gid, err = intOption(c, "gid", 0, -1); err != nil {
		return err
	}
	o.binds, err = parseBinds(env, c.StringSlice("bind"))
	return err
}

func runRun(ctx context.Context, env *environment, o runOptions) error {
	if o.force != fakeroot.ModeNone {
		o.uid, o.gid = max(o.uid, 0), max(o.gid, 0)
		return runStatus(runForced(ctx, env, &o))
	}
	switch squash, err := o.squashFile(ctx, env); {
	case err != nil:
		return runStatus(err)
	case squash:
		return runStatus(runSquash(ctx, env, &o))
	}
	if o.uid < 0 {
		o.uid = os.Geteuid()
	}
	if o.gid < 0 {
		o.gid = os.Getegid()
	}
	return runStatus(runImage(ctx, env, &o))
}

// runStatus gives virga's own failures the exit statuses of run.
func runStatus(err error) error {
	var status *statusError
	var usage *usageError
	var exec *unpriv.ExecError
	switch {
	case err == nil, errors.As(err, &status), errors.As(err, &usage):
		return err
	case errors.As(err, &exec):
		return &statusError{code: exec.Status(), err: err}
	}
	return &statusError{code: exitRunFailed, err: err}
}

// runImage runs the program. What it uses stays in storage meanwhile.
func runImage(ctx context.Context, env *environment, o *runOptions) error {
	im, config, done, err := o.locate(ctx, env)
	if err != nil {
		return err
	}
	defer done()
	if im.Process, err = o.process(env, config); err != nil {
		return err
	}
	im.Write, im.Fake = o.write, o.writeFake || o.home
	im.Files = accountFiles(env, im.Lower, im.Process.User)
	if im.Mounts, err = o.mounts(env); err != nil {
		return err
	}
	st, err := unpriv.RunImage(ctx, *im)
	if err == nil && st.Exit() != 0 {
		err = &statusError{code: st.Exit()}
	}
	return err
}

// locate finds the image: a name in storage wins over a directory.
func (o *runOptions) locate(ctx context.Context, env *environment) (_ *unpriv.Image, _ *image.RunConfig, done func(), err error) {
	if o.isPath() {
		return o.directory(ctx, env)
	}
	store, err := env.openStorage(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	done = func() { env.closeStorage(store) }
	var im *unpriv.Image
	var config *image.RunConfig
	if o.state != "" {
		im, config, err = o.kept(ctx, env, store)
	} else {
		im, config, err = o.stored(ctx, store)
	}
	if err == nil {
		return im, config, done, nil
	}
	done()
	if fi, serr := os.Stat(env.abs(o.image)); o.state == "" && errors.Is(err, storage.ErrNotFound) && serr == nil && (fi.IsDir() || archive.IsSquash(env.abs(o.image))) {
		return o.directory(ctx, env)
	}
	return nil, nil, nil, err
}

// stored is an image in storage.
func (o *runOptions) stored(ctx context.Context, store *storage.Store) (*unpriv.Image, *image.RunConfig, error) {
	img, err := findImage(store, o.image)
	if err != nil {
		return nil, nil, err
	}
	if o.write {
		return nil, nil, &usageError{msg: "run: --write needs an image directory: images in storage never change", hint: "use --write-fake, or virga unpack and run that directory"}
	}
	config, err := store.Config(&img)
	if err != nil {
		return nil, nil, err
	}
	lower, err := o.lowers(ctx, store, &img)
	if errors.Is(err, storage.ErrNoMarks) {
		// Built where chains can be mounted, and moved to where they cannot.
		x := exchange.New(store, nil, exchange.Options{Log: slog.New(slog.DiscardHandler)})
		if err = x.MakeFlat(ctx, &img); err == nil {
			lower, err = o.lowers(ctx, store, &img)
		}
	}
	return &unpriv.Image{Lower: lower}, &config.Config, err
}

// lowers are the directories of an image, pinned: one if it is kept flat.
func (o *runOptions) lowers(ctx context.Context, store *storage.Store, img *storage.Image) ([]string, error) {
	o.chain = img.Chain
	if img.Flat != "" {
		o.chain = []storage.TreeID{img.Flat}
	}
	if err := store.Pin(ctx, o.chain...); err != nil {
		return nil, err
	}
	return store.Lowers(ctx, o.chain)
}

// directory is an image that is a plain directory, or a SquashFS file.
func (o *runOptions) directory(ctx context.Context, env *environment) (*unpriv.Image, *image.RunConfig, func(), error) {
	dir, done := env.abs(o.image), func() {}
	fi, err := os.Stat(dir)
	switch {
	case err == nil && archive.IsSquash(dir):
		if dir, done, err = mountSquash(ctx, dir, o.mountDir); err != nil {
			return nil, nil, nil, err
		}
	case err != nil || !fi.IsDir():
		return nil, nil, nil, fmt.Errorf("image %q: no such directory or SquashFS file", o.image)
	}
	config, err := exchange.DirConfig(dir)
	if err != nil {
		done()
		return nil, nil, nil, fmt.Errorf("image %q: %w", o.image, err)
	}
	return &unpriv.Image{Lower: []string{dir}}, &config.Config, done, nil
}

// args is the program and its arguments, as docker has them: the image's
// ENTRYPOINT, or what was given instead of it, then the words given, else the
// image's CMD. In a state there is no ENTRYPOINT: its words are the program.
func (o *runOptions) args(c *image.RunConfig) ([]string, error) {
	args := o.command
	switch {
	case o.shell && len(c.Shell) > 0:
		args = c.Shell[:1]
	case o.shell:
		args = []string{"/bin/sh"}
	case o.entrypoint != nil && *o.entrypoint != "":
		args = append([]string{*o.entrypoint}, args...)
	case len(args) == 0 && o.entrypoint != nil:
		args = c.Cmd
	case o.entrypoint != nil || o.state != "":
	case len(args) == 0:
		args = append(slices.Clone(c.Entrypoint), c.Cmd...)
	default:
		args = append(slices.Clone(c.Entrypoint), args...)
	}
	if len(args) == 0 {
		return nil, &noProgramError{o.image}
	}
	return args, nil
}

// noProgramError says that neither the caller nor the image names a program.
type noProgramError struct{ image string }

func (e *noProgramError) Error() string {
	return fmt.Sprintf("run: image %s has no ENTRYPOINT or CMD, and no program was given", e.image)
}

func (e *noProgramError) Hint() string { return "usage: virga run IMAGE [CMD [ARG...]]" }

// mounts are the host's directories inside the container.
func (o *runOptions) mounts(env *environment) ([]specs.Mount, error) {
	tmp := env.getenv("TMPDIR")
	if tmp == "" {
		tmp = "/tmp"
	}
	mounts := append(unpriv.RunMounts(), specs.Mount{Destination: "/tmp", Type: "bind", Source: tmp, Options: []string{"rbind", unpriv.Optional}})
	binds := o.binds
	if o.home {
		home := env.getenv("HOME")
		if home == "" {
			return nil, usagef("run: --home: $HOME is not set")
		}
		binds = append([]bind{{source: home, target: path.Join("/home", env.getenv("USER"))}}, binds...)
	}
	for _, b := range binds {
		m, err := unpriv.Bind(b.source, b.target, b.readOnly, true)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}
