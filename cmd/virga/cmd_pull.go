package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/registry"
	"virga/storage"
)

// pullOptions is what the options of pull mean.
type pullOptions struct {
	ref       image.Reference
	dir       string // absolute; unpack here and keep no image
	lastLayer int    // 0: all
	parseOnly bool
	trust     trustOptions
}

func pullCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "pull",
		Usage:     "pull an image from a registry",
		ArgsUsage: "REF [DIR]",
		Description: `The image is verified, flattened into one directory and kept in storage. With
DIR it is unpacked there, and no image is kept.`,
		Flags: append([]cli.Flag{
			intFlag("last-layer", "", "unpack only the first `N` layers"),
			&cli.BoolFlag{Name: "parse-only", Usage: "print the parts of REF and stop"},
		}, verifyFlags()...),
		Action: func(c *cli.Context) error {
			opts, err := newPullOptions(env, c)
			if err != nil {
				return err
			}
			return runPull(c.Context, env, opts)
		},
	}
}

func newPullOptions(env *environment, c *cli.Context) (pullOptions, error) {
	o := pullOptions{parseOnly: c.Bool("parse-only")}
	if err := wantArgs(c, 1, 2, "REF"); err != nil {
		return o, err
	}
	var err error
	if o.lastLayer, err = intOption(c, "last-layer", 1, 0); err != nil {
		return o, err
	}
	if o.trust, err = newTrustOptions(c); err != nil {
		return o, err
	}
	if d := c.Args().Get(1); d != "" {
		o.dir = env.abs(d)
	}
	o.ref, err = env.remoteReference(c.Args().First())
	return o, err
}

func runPull(ctx context.Context, env *environment, o pullOptions) error {
	if o.parseOnly {
		return printReference(env, o.ref)
	}
	want := registry.Want{Platform: env.globals.platform, Yolo: env.globals.anyPlatform}
	t, err := o.trust.trust(env)
	if err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{Trust: t}, func(_ *storage.Store, x *exchange.Exchange) error {
		if o.dir != "" {
			return x.PullTo(ctx, o.ref, want, o.dir, o.lastLayer)
		}
		img, err := x.Pull(ctx, o.ref, want, o.lastLayer)
		if err != nil {
			return err
		}
		env.log.Info(fmt.Sprintf("pulled %s (%s) %s", img.Ref, img.Platform, humanSize(img.Size)))
		if env.globals.verbosity < 0 {
			_, err = fmt.Fprintln(env.stdout, img.ID)
		}
		return err
	})
}

// printReference is pull --parse-only.
func printReference(env *environment, r image.Reference) error {
	_, err := fmt.Fprintf(env.stdout, "as string:    %s\nfull:         %s\nfor filename: %s\nhost:         %s\npath:         %s\ntag:          %s\ndigest:       %s\n",
		r, r.Full(), r.FileName(), r.Host, r.Path, r.Tag, r.Digest)
	return err
}
