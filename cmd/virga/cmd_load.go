package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/archive"
	"virga/exchange"
	"virga/image"
	"virga/storage"
)

// loadOptions is what the options of load mean.
type loadOptions struct {
	input string // absolute, or /dev/stdin
	tags  []image.Reference
}

func loadCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "load",
		Usage: "read images from a file",
		Description: `The file is what docker save, podman save, skopeo, BuildKit or virga save wrote:
a docker-archive or an OCI archive, compressed or not, or a directory with an
OCI layout. All its images are loaded, under their own names.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read `FILE` (default: standard input)"},
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "name the only image in the file `TAG`; may be repeated"},
		},
		Action: func(c *cli.Context) error {
			o := loadOptions{input: "/dev/stdin"}
			if n := c.Args().Len(); n > 0 {
				return &usageError{msg: fmt.Sprintf("load: too many arguments: %q", c.Args().First()), hint: "-i FILE reads a file"}
			}
			var err error
			if o.tags, err = parseReferences(c.StringSlice("tag")); err != nil {
				return err
			}
			if f := c.String("input"); f != "" && f != "-" {
				o.input = env.abs(f)
			} else if env.terminalInput() {
				return &usageError{msg: "load: standard input is a terminal", hint: "-i FILE reads a file"}
			}
			return runLoad(c.Context, env, o)
		},
	}
}

func runLoad(ctx context.Context, env *environment, o loadOptions) error {
	opts := exchange.LoadOptions{Names: o.tags, Want: env.wantedFromFiles()}
	return env.withExchange(ctx, exchange.Options{}, func(_ *storage.Store, x *exchange.Exchange) error {
		images, err := x.Load(ctx, o.input, opts)
		if err != nil {
			return err
		}
		return env.reportLoaded(images)
	})
}

// wantedFromFiles says which images of files are taken.
func (env *environment) wantedFromFiles() archive.Want {
	return archive.Want{Platform: env.globals.platform, Strict: env.globals.platformGiven}
}

// reportLoaded prints the names as docker load does; with --quiet alone.
func (env *environment) reportLoaded(images []*storage.Image) error {
	for _, img := range images {
		if !env.globals.anyPlatform && !env.globals.platform.Matches(img.Platform) {
			env.log.Warn(fmt.Sprintf("%s is for %s, not for %s", img.Ref, img.Platform, env.globals.platform))
		}
		line := "Loaded image: " + img.Ref
		if env.globals.verbosity < 0 {
			line = img.Ref
		}
		if _, err := fmt.Fprintln(env.stdout, line); err != nil {
			return err
		}
	}
	return nil
}
