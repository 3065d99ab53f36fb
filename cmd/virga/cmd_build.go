package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/image"
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

func runBuild(_ context.Context, _ *environment, _ buildOptions) error {
	return errNotYet("build")
}
