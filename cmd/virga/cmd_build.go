package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/build"
	"virga/exchange"
	"virga/fakeroot"
	"virga/image"
	"virga/parser"
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
	outputs   []buildOutput
	iidFile   string
	metadata  string // --metadata-file
	squash    bool
	flat      bool
	timestamp string // --timestamp as given, "" for $SOURCE_DATE_EPOCH
	dryRun    bool
	parseOnly bool
	check     bool
	format    string // of --parse-only: text or json
	secrets   []string
	ssh       []string
	contexts  map[string]string // --build-context
	timing    string            // --timing: where to draw the time
	cacheFrom []exchange.CachePlace
	cacheTo   []exchange.CachePlace
	attest    bool
	attestKey string // --attest-key as given
	trust     trustOptions
}

func buildCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "build",
		Usage:     "build an image from a Dockerfile",
		ArgsUsage: "CONTEXT|-",
		Description: `CONTEXT is the directory that COPY and ADD read. With "-" the Dockerfile is
read from standard input and there is no context. Without --file, Dockerfile
and then Containerfile are looked for in CONTEXT.`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "name the image `TAG`; may be repeated"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the Dockerfile `FILE`, or standard input if it is -"},
			&cli.StringSliceFlag{Name: "build-arg", Usage: "set the ARG `K[=V]`; without V it is taken from the environment"},
			&cli.StringSliceFlag{Name: "label", Usage: "add the label `K=V`"},
			&cli.StringFlag{Name: "target", Usage: "stop at the stage `STAGE`"},
			&cli.StringSliceFlag{Name: "bind", Aliases: []string{"b"}, Usage: "mount the host's SRC in each RUN: `SRC[:DST[:ro]]`"},
			&optionalFlag{StringFlag: &cli.StringFlag{Name: "force", Value: "seccomp",
				Usage: "emulate root in RUN as `MODE`: seccomp, consistent, plain, fakeroot or none"}, implied: "seccomp", values: fakeroot.Modes()},
			&cli.StringSliceFlag{Name: "force-cmd", Usage: "in RUN, put ARGs after each word CMD: `CMD,ARG[,ARG...]`"},
			&choiceFlag{&cli.StringFlag{Name: "isolation", Value: "userns", Usage: "run RUN in `KIND`: userns, or chroot (real root only)"},
				[]string{"userns", "chroot"}},
			&cli.StringSliceFlag{Name: "cache-from", Usage: "look for results of other machines in `SPEC`: REF, type=registry,ref=REF or type=local,src=DIR; may be repeated"},
			&cli.StringSliceFlag{Name: "cache-to", Usage: "leave results for other machines in `SPEC`: as --cache-from with dest=DIR; mode=max for those of all stages"},
			intFlag("jobs", "", "work on `N` stages at once (default: processors)"),
			&cli.BoolFlag{Name: "pull", Usage: "ask registries for newer base images"},
			&cli.BoolFlag{Name: "squash", Usage: "make one layer of all that is added to the base image"},
			&cli.BoolFlag{Name: "flat", Usage: "keep the image as one directory, img/NAME in storage, too"},
			&cli.StringFlag{Name: "timestamp", Usage: "let no time in the image be later than `SEC` seconds since 1970"},
			&cli.StringFlag{Name: "timing", Usage: "draw where the time went to `FILE.svg|FILE.html`"},
			&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the result as `SPEC`: DIR, - (a tar), or type=TYPE[,dest=FILE][,name=REF][,push=true]"},
			&cli.StringFlag{Name: "iidfile", Usage: "write the image id to `FILE`"},
			&cli.StringFlag{Name: "metadata-file", Usage: "write what was built to `FILE`, as JSON"},
			&cli.BoolFlag{Name: "attest", Usage: "keep with the image how it is built, and push that with it"},
			&cli.StringFlag{Name: "attest-key", Usage: "with --attest, sign what is pushed of it with the private key `FILE`; $COSIGN_PASSWORD opens it"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be done, do nothing"},
			&cli.BoolFlag{Name: "parse-only", Usage: "print the Dockerfile's syntax tree and stop"},
			&choiceFlag{&cli.StringFlag{Name: "format", Value: "text", Usage: "print the tree as `FORM`: text or json"}, []string{"text", "json"}},
			&cli.BoolFlag{Name: "check", Usage: "print what is doubtful in the Dockerfile and stop"},
			&cli.StringSliceFlag{Name: "secret", Usage: "give RUN --mount=type=secret a secret: `id=ID,src=FILE` or id=ID,env=NAME"},
			&cli.StringSliceFlag{Name: "ssh", Usage: "give RUN --mount=type=ssh an agent: `default` or ID[=SOCKET]"},
			&cli.StringSliceFlag{Name: "build-context", Usage: "let FROM and --from name a directory or image: `NAME=DIR|IMAGE`"},
		}, verifyFlags()...),
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
		metadata: c.String("metadata-file"), squash: c.Bool("squash"), flat: c.Bool("flat"), timestamp: c.String("timestamp"),
		dryRun: c.Bool("dry-run"), parseOnly: c.Bool("parse-only"), check: c.Bool("check"), format: c.String("format"),
		secrets: c.StringSlice("secret"), ssh: c.StringSlice("ssh"), timing: c.String("timing"),
		attest: c.Bool("attest"), attestKey: c.String("attest-key"),
	}
	if err := wantArgs(c, 1, 1, "CONTEXT"); err != nil {
		return o, err
	}
	var err error
	if o.trust, err = newTrustOptions(c); err != nil {
		return o, err
	}
	if o.jobs, err = intOption(c, "jobs", 1, 0); err != nil {
		return o, err
	}
	if o.attestKey != "" && !o.attest {
		return o, &usageError{msg: "build: --attest-key has nothing to sign", hint: "--attest keeps how the image is built"}
	}
	if o.context == "-" && o.file != "" {
		return o, usagef("build: --file %q has no context to be in: the Dockerfile is standard input", o.file)
	}
	if o.timing != "" && drawer(o.timing) == nil {
		return o, usagef("build: --timing %q is neither FILE.svg nor FILE.html", o.timing)
	}
	o.chroot = c.String("isolation") == "chroot"
	if o.cacheFrom, err = env.cachePlaces("--cache-from", "src", c.StringSlice("cache-from")); err != nil {
		return o, err
	}
	if o.cacheTo, err = env.cachePlaces("--cache-to", "dest", c.StringSlice("cache-to")); err != nil {
		return o, err
	}
	if o.tags, err = parseReferences(c.StringSlice("tag")); err != nil {
		return o, err
	}
	if o.outputs, err = parseOutputs(env, c.StringSlice("output")); err != nil {
		return o, err
	}
	o.tags = append(o.tags, outputNames(o.outputs)...)
	if o.args, err = parseBuildArgs(env, c.StringSlice("build-arg")); err != nil {
		return o, err
	}
	if o.labels, err = parsePairs("--label", c.StringSlice("label")); err != nil {
		return o, err
	}
	if o.contexts, err = parsePairs("--build-context", c.StringSlice("build-context")); err != nil {
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
	if o.parseOnly || o.check {
		return checkDockerfile(ctx, env, o)
	}
	e := unpriv.Entry{}
	if o.chroot {
		e.Isolation = unpriv.Chroot
	}
	if done, err := env.enter(ctx, e); done || err != nil {
		return err
	}
	t, err := o.trust.trust(env)
	if err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{Real: o.chroot, PullBases: o.pull, Trust: t}, func(store *storage.Store, x *exchange.Exchange) error {
		return buildImage(ctx, env, store, x, o)
	})
}

// checkDockerfile is build --parse-only, which prints the tree, and --check,
// which prints warnings and fails if there are any.
func checkDockerfile(ctx context.Context, env *environment, o buildOptions) error {
	store, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(store)
	in, err := openBuild(ctx, env, store, o)
	if err != nil {
		return err
	}
	defer in.close(env)
	if o.check {
		return printWarnings(env, in.file)
	}
	text := []byte(in.file.Tree())
	if o.format == "json" {
		if text, err = json.MarshalIndent(in.file, "", "  "); err != nil {
			return err
		}
		text = append(text, '\n')
	}
	_, err = env.stdout.Write(text)
	return err
}

func printWarnings(env *environment, f *parser.File) error {
	warnings, _ := parser.Check(f, parser.CheckOptions{})
	for _, w := range warnings {
		fmt.Fprintf(env.stdout, "%s:%d:%d: %s: %s\n", f.Name, w.Pos.Line, w.Pos.Column, w.Rule, w.Msg)
	}
	if len(warnings) > 0 {
		return fmt.Errorf("%s: %d warnings", f.Name, len(warnings))
	}
	return nil
}

func buildImage(ctx context.Context, env *environment, store *storage.Store, x *exchange.Exchange, o buildOptions) error {
	in, err := openBuild(ctx, env, store, o)
	if err != nil {
		return err
	}
	defer in.close(env)
	opts, err := o.options(env, in)
	if err != nil {
		return err
	}
	key, err := env.signer("--attest-key", o.attestKey)
	if err != nil {
		return err
	}
	if len(o.cacheFrom)+len(o.cacheTo) > 0 {
		opts.Remote = x.NewCache(o.cacheFrom, o.cacheTo)
	}
	env.show.begin("build "+o.context, o.timing != "")
	res, err := build.Build(ctx, store, x, in.file, opts)
	env.show.clear()
	if terr := env.writeTiming(o.timing); err == nil {
		err = terr
	}
	if err != nil {
		return err
	}
	if o.dryRun {
		return nil
	}
	if err := writeOutputs(ctx, env, x, o.outputs, res.Image, opts.Tags, key); err != nil {
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
	if env.globals.verbosity < 0 && !toStdout(o.outputs) {
		fmt.Fprintln(env.stdout, res.Image.ID)
	}
	if o.metadata != "" {
		if err := writeMetadata(env.abs(o.metadata), tags, res.Image); err != nil {
			return err
		}
	}
	if o.iidFile == "" {
		return nil
	}
	return os.WriteFile(env.abs(o.iidFile), []byte(res.Image.ID.String()), 0o644)
}

// options translates the command line to what the build package wants.
func (o buildOptions) options(env *environment, in *buildInput) (build.Options, error) {
	b := build.Options{
		Context: in.context.Root, Named: in.named, Dockerfile: in.relative, DryRun: o.dryRun, Tags: o.tags, Args: o.args, Labels: o.labels, Target: o.target,
		Platform: env.globals.platform, Chroot: o.chroot, Jobs: o.jobs, HostEnv: os.Environ(), Qualify: env.qualify,
		Report: env.show, Output: env.show.output, Log: env.log,
	}
	if o.attest {
		b.Provenance = in.provenance()
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
	if b.Secrets, err = parseSecrets(env, o.secrets); err != nil {
		return b, err
	}
	if b.SSH, err = parseSSH(env, o.ssh); err != nil {
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
	if b.Squash, b.Flat = o.squash, o.flat; o.timestamp != "" {
		b.Epoch, err = parseEpoch("build: --timestamp", o.timestamp)
	} else {
		b.Epoch, err = sourceDateEpoch(env)
	}
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
