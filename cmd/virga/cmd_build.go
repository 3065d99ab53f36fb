package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"virga/build"
	"virga/exchange"
	"virga/fakeroot"
	"virga/image"
	"virga/storage"
	"virga/unpriv"
)

// buildOptions is what the options of build mean.
type buildOptions struct {
	context   string // CONTEXT as given: a directory or "-"
	tags      []image.Reference
	file      string // --file as given, "" to look for one
	args      map[string]string
	labels    map[string]string
	target    string
	binds     []bind
	force     string
	forceCmds []string
	chroot    bool // --isolation chroot
	jobs      int  // 0: as many as processors
	pull      bool // ask the registry about base images that are in storage
	iidFile   string
	dryRun    bool
	parseOnly bool
}

func buildCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "build",
		Usage:     "build an image from a Dockerfile",
		ArgsUsage: "CONTEXT|-",
		Description: `CONTEXT is the directory that COPY and ADD read. With "-" the Dockerfile is
read from standard input and there is no context. Without --file, Dockerfile
and then Containerfile are looked for in CONTEXT.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "name the image `TAG`; may be repeated"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the Dockerfile `FILE`, or standard input if it is -"},
			&cli.StringSliceFlag{Name: "build-arg", Usage: "set the ARG `K[=V]`; without V it is taken from the environment"},
			&cli.StringSliceFlag{Name: "label", Usage: "add the label `K=V`"},
			&cli.StringFlag{Name: "target", Usage: "stop at the stage `STAGE`"},
			&cli.StringSliceFlag{Name: "bind", Aliases: []string{"b"}, Usage: "mount the host's SRC in each RUN: `SRC[:DST[:ro]]`"},
			&optionalFlag{StringFlag: &cli.StringFlag{Name: "force", Value: "seccomp",
				Usage: "emulate root in RUN as `MODE`: seccomp, consistent, plain, fakeroot or none"}, implied: "seccomp"},
			&cli.StringSliceFlag{Name: "force-cmd", Usage: "in RUN, put ARGs after each word CMD: `CMD,ARG[,ARG...]`"},
			&cli.StringFlag{Name: "isolation", Value: "userns", Usage: "run RUN in `KIND`: userns, or chroot (real root only)"},
			intFlag("jobs", "", "work on `N` stages at once (default: processors)"),
			&cli.BoolFlag{Name: "pull", Usage: "ask registries for newer base images"},
			&cli.StringFlag{Name: "iidfile", Usage: "write the image id to `FILE`"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be done, do nothing"},
			&cli.BoolFlag{Name: "parse-only", Usage: "check the Dockerfile and stop"},
		},
		Action: func(c *cli.Context) error {
			opts, err := newBuildOptions(env, c)
			if err != nil {
				return err
			}
			return runBuild(c.Context, env, opts)
		},
	}
}

func newBuildOptions(env *environment, c *cli.Context) (buildOptions, error) {
	o := buildOptions{
		context: c.Args().First(), file: c.String("file"), target: c.String("target"), force: c.String("force"),
		forceCmds: c.StringSlice("force-cmd"), pull: c.Bool("pull"), iidFile: c.String("iidfile"),
		dryRun: c.Bool("dry-run"), parseOnly: c.Bool("parse-only"),
	}
	if err := wantArgs(c, 1, 1, "CONTEXT"); err != nil {
		return o, err
	}
	var err error
	if o.jobs, err = intOption(c, "jobs", 1, 0); err != nil {
		return o, err
	}
	if o.context == "-" && o.file != "" {
		return o, usagef("build: --file %q has no context to be in: the Dockerfile is standard input", o.file)
	}
	switch o.force {
	case "seccomp", "consistent", "plain", "fakeroot", "none":
	default:
		return o, usagef("build: --force=%s is not one of seccomp, consistent, plain, fakeroot, none", o.force)
	}
	switch v := c.String("isolation"); v {
	case "userns":
	case "chroot":
		o.chroot = true
	default:
		return o, usagef("build: --isolation %q is not userns or chroot", v)
	}
	if o.tags, err = parseReferences(c.StringSlice("tag")); err != nil {
		return o, err
	}
	if o.args, err = parseBuildArgs(env, c.StringSlice("build-arg")); err != nil {
		return o, err
	}
	if o.labels, err = parsePairs("--label", c.StringSlice("label")); err != nil {
		return o, err
	}
	o.binds, err = parseBinds(env, c.StringSlice("bind"))
	return o, err
}

// parseBuildArgs reads K=V and K, which takes its value from the environment.
// Docker leaves such a K out if it is not set there; so do we, and say it.
func parseBuildArgs(env *environment, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if k == "" {
			return nil, usagef("--build-arg %q has no name", s)
		}
		if !ok {
			if v, ok = env.lookupEnv(k); !ok {
				env.log.Warn(fmt.Sprintf("--build-arg %s: no such variable in the environment", k))
				continue
			}
		}
		out[k] = v
	}
	return out, nil
}

func runBuild(ctx context.Context, env *environment, o buildOptions) error {
	if o.parseOnly || o.dryRun {
		return showDockerfile(env, o)
	}
	e := unpriv.Entry{}
	if o.chroot {
		e.Isolation = unpriv.Chroot
	}
	if done, err := env.enter(ctx, e); done || err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{Real: o.chroot, PullBases: o.pull}, func(store *storage.Store, x *exchange.Exchange) error {
		return buildImage(ctx, env, store, x, o)
	})
}

// showDockerfile is build --parse-only and --dry-run.
func showDockerfile(env *environment, o buildOptions) error {
	in, err := openBuild(env, o)
	if err != nil {
		return err
	}
	defer in.close()
	text := in.file.Tree()
	if o.dryRun {
		text = in.file.String()
	}
	_, err = fmt.Fprint(env.stdout, text)
	return err
}

func buildImage(ctx context.Context, env *environment, store *storage.Store, x *exchange.Exchange, o buildOptions) error {
	in, err := openBuild(env, o)
	if err != nil {
		return err
	}
	defer in.close()
	opts, err := o.options(env, in)
	if err != nil {
		return err
	}
	quiet := env.globals.verbosity < 0
	out := &tailWriter{limit: 64 << 10}
	if quiet {
		opts.Output = out
	}
	res, err := build.Build(ctx, store, x, in.file, opts)
	if err != nil {
		if quiet && ctx.Err() == nil {
			out.writeTo(env.stderr)
		}
		return err
	}
	return reportBuild(env, o, opts.Tags, res)
}

// reportBuild tells what was made: the id alone with --quiet.
func reportBuild(env *environment, o buildOptions, tags []image.Reference, res *build.Result) error {
	if res.Runs > 0 {
		env.log.Info(fmt.Sprintf("--force=%s: emulated root in %d RUN instructions", o.force, res.Runs))
	}
	for _, t := range tags {
		env.log.Info(fmt.Sprintf("grown in %d instructions: %s (%s)", res.Steps, t, shortID(res.Image.ID)))
	}
	if env.globals.verbosity < 0 {
		fmt.Fprintln(env.stdout, res.Image.ID)
	}
	if o.iidFile == "" {
		return nil
	}
	return os.WriteFile(env.abs(o.iidFile), []byte(res.Image.ID.String()), 0o644)
}

// options translates the command line to what the build package wants.
func (o buildOptions) options(env *environment, in *buildInput) (build.Options, error) {
	b := build.Options{
		Context: in.context, Dockerfile: in.relative, Tags: o.tags, Args: o.args, Labels: o.labels, Target: o.target,
		Platform: env.globals.platform, Chroot: o.chroot, Jobs: o.jobs, HostEnv: os.Environ(), Output: env.stderr,
		Report: &steps{env: env}, Log: env.log,
	}
	switch env.globals.cache {
	case cacheOff:
		b.Cache = build.CacheOff
	case cacheRebuild:
		b.Cache = build.CacheRebuild
	}
	var err error
	if b.Force.Mode, err = fakeroot.ParseMode(o.force); err != nil {
		return b, err
	}
	if b.Force.Inject, err = o.injections(b.Force.Mode); err != nil {
		return b, err
	}
	for _, m := range o.binds {
		mount, err := unpriv.Bind(m.source, m.target, m.readOnly, true)
		if err != nil {
			return b, err
		}
		b.Binds = append(b.Binds, mount)
	}
	if len(b.Tags) == 0 {
		tag, err := inferTag(env, o)
		if err != nil {
			return b, err
		}
		env.log.Info("inferred image name: " + tag.String())
		b.Tags = []image.Reference{tag}
	}
	b.Epoch, err = sourceDateEpoch(env)
	return b, err
}

// injections are those of --force-cmd, else the defaults of the mode.
func (o buildOptions) injections(mode fakeroot.Mode) ([]fakeroot.Injection, error) {
	if len(o.forceCmds) == 0 && mode == fakeroot.ModePlain {
		return fakeroot.DefaultInjections(), nil
	}
	var out []fakeroot.Injection
	for _, s := range o.forceCmds {
		in, err := fakeroot.ParseInjection(s)
		if err != nil {
			return nil, &usageError{msg: err.Error()}
		}
		out = append(out, in)
	}
	return out, nil
}

// sourceDateEpoch reads $SOURCE_DATE_EPOCH, seconds since 1970
// (reproducible-builds.org/specs/source-date-epoch).
func sourceDateEpoch(env *environment) (*time.Time, error) {
	v := env.getenv("SOURCE_DATE_EPOCH")
	if v == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return nil, usagef("$SOURCE_DATE_EPOCH %q is not a number of seconds", v)
	}
	t := time.Unix(n, 0).UTC()
	return &t, nil
}
