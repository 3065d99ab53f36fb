package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// modifyOptions is what the options of modify mean.
type modifyOptions struct {
	src         string
	dst         image.Reference
	script      string // file, "-" for standard input, "" for none
	commands    []string
	interactive bool
	shell       []string // nil: the image's
	build       buildOptions
}

func modifyCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "modify",
		Usage:     "make a new image by commands, a script, or an interactive session",
		ArgsUsage: "SRC DST [SCRIPT]",
		Description: `The commands, then SCRIPT, run in SRC as RUN would run them, and the result is
DST; SRC stays as it is. SCRIPT is a file, or - for standard input. Without
commands and SCRIPT, and with --interactive, a shell is opened; if it ends with
a status other than 0, nothing is kept.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "command", Aliases: []string{"c"}, Usage: "run `CMD` with the shell; may be repeated"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "open a shell, after the commands"},
			&cli.StringFlag{Name: "shell", Aliases: []string{"S"}, Usage: "use `SHELL` instead of the image's"},
			&cli.StringSliceFlag{Name: "bind", Aliases: []string{"b"}, Usage: "mount the host's SRC: `SRC[:DST[:ro]]`"},
			&optionalFlag{StringFlag: &cli.StringFlag{Name: "force", Value: "seccomp",
				Usage: "emulate root as `MODE`: seccomp, consistent, plain, fakeroot or none"}, implied: "seccomp", values: fakeroot.Modes()},
		},
		Action: func(c *cli.Context) error {
			o, err := newModifyOptions(env, c)
			if err != nil {
				return err
			}
			return runModify(c.Context, env, o)
		},
	}
}

func newModifyOptions(env *environment, c *cli.Context) (modifyOptions, error) {
	o := modifyOptions{src: c.Args().First(), script: c.Args().Get(2), commands: c.StringSlice("command"), interactive: c.Bool("interactive"),
		shell: strings.Fields(c.String("shell")), build: buildOptions{force: c.String("force")}}
	if err := wantArgs(c, 2, 3, "SRC or DST"); err != nil {
		return o, err
	}
	var err error
	if o.dst, err = parseReference(c.Args().Get(1)); err != nil {
		return o, err
	}
	if len(o.commands) == 0 && o.script == "" && !o.interactive {
		o.interactive = env.terminalInput()
		if !o.interactive {
			o.script = "-"
		}
	}
	if o.interactive && o.script == "-" {
		return o, usagef("modify: --interactive and a script on standard input exclude each other")
	}
	o.build.binds, err = parseBinds(env, c.StringSlice("bind"))
	o.build.tags = []image.Reference{o.dst}
	return o, err
}

func runModify(ctx context.Context, env *environment, o modifyOptions) error {
	if done, err := env.enter(ctx, unpriv.Entry{}); done || err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{}, func(store *storage.Store, x *exchange.Exchange) error {
		img, err := findImage(store, o.src)
		if err != nil {
			return err
		}
		if img.Ref == o.dst.String() {
			return &usageError{msg: fmt.Sprintf("modify: SRC and DST are both %s", img.Ref), hint: "give DST another name"}
		}
		text, err := o.dockerfile(env, img.Ref)
		if err != nil {
			return err
		}
		in := &buildInput{context: &build.Context{}}
		if in.file, err = parser.Parse("modify", []byte(text)); err != nil {
			return err
		}
		opts, err := o.build.options(env, in)
		if err != nil {
			return err
		}
		opts.Platform = img.Platform
		if o.interactive {
			opts.Cache = build.CacheOff
			opts.Stdin, _ = env.stdin.(*os.File)
			opts.Output = func(build.Step) io.Writer { return env.stdout }
			defer env.show.pause()()
		}
		env.show.begin("modify "+img.Ref, false)
		res, err := build.Build(ctx, store, x, in.file, opts)
		if err != nil {
			return err
		}
		return reportBuild(env, o.build, opts.Tags, res)
	})
}

// dockerfile writes what is to be done as a Dockerfile.
func (o *modifyOptions) dockerfile(env *environment, src string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "FROM %s\n", src)
	run := func(args ...string) {
		raw, _ := json.Marshal(args) // strings: cannot fail
		fmt.Fprintf(&b, "RUN %s\n", raw)
	}
	shell := o.shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh"}
	}
	for _, c := range o.commands {
		run(append(shell[:len(shell):len(shell)], "-c", c)...)
	}
	if o.script != "" {
		text, err := o.readScript(env)
		if err != nil {
			return "", err
		}
		if len(o.shell) > 0 || !strings.HasPrefix(text, "#!") {
			run(append(shell[:len(shell):len(shell)], "-c", text)...)
		} else {
			end := "SCRIPT"
			for strings.Contains(text, end) {
				end += "_"
			}
			fmt.Fprintf(&b, "RUN <<'%s'\n%s\n%s\n", end, strings.TrimSuffix(text, "\n"), end)
		}
	}
	if o.interactive {
		run(shell...)
	}
	return b.String(), nil
}

// maxScript bounds a script: the kernel takes no longer argument
// (MAX_ARG_STRLEN, execve(2)).
const maxScript = 128<<10 - 1

func (o *modifyOptions) readScript(env *environment) (string, error) {
	r := env.stdin
	if o.script != "-" {
		f, err := os.Open(env.abs(o.script))
		if err != nil {
			return "", fmt.Errorf("modify: script: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxScript+1))
	if err != nil {
		return "", fmt.Errorf("modify: script: %w", err)
	}
	if len(b) > maxScript {
		return "", fmt.Errorf("modify: script %q: longer than %d bytes", o.script, maxScript)
	}
	return string(b), nil
}
