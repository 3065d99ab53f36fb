package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/storage"
)

// importOptions is what the arguments of import mean.
type importOptions struct {
	path string // absolute, or "-" for standard input
	ref  image.Reference
}

func importCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "make an image of a directory, tarball or SquashFS file",
		ArgsUsage: "PATH REF",
		Description: `PATH is a root file system: a directory, a tarball, compressed or not, or a SquashFS
file; - is such a file on standard input. A tarball's only top directory is left out, unless
its name is one that belongs into a root file system (bin, usr, ...).`,
		Action: func(c *cli.Context) error {
			opts, err := newImportOptions(env, c)
			if err != nil {
				return err
			}
			return runImport(c.Context, env, opts)
		},
	}
}

func newImportOptions(env *environment, c *cli.Context) (importOptions, error) {
	if err := wantArgs(c, 2, 2, "PATH or REF"); err != nil {
		return importOptions{}, err
	}
	o := importOptions{path: c.Args().First()}
	if o.path != "-" {
		o.path = env.abs(o.path)
	}
	var err error
	o.ref, err = parseReference(c.Args().Get(1))
	return o, err
}

func runImport(ctx context.Context, env *environment, o importOptions) error {
	path := o.path
	if path == "-" {
		path = "/dev/stdin"
	}
	epoch, err := sourceDateEpoch(env)
	if err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{Epoch: epoch}, func(_ *storage.Store, x *exchange.Exchange) error {
		img, err := x.Import(ctx, path, o.ref)
		if err != nil {
			return err
		}
		env.log.Info(fmt.Sprintf("imported %s (%s)", img.Ref, shortID(img.ID)))
		if env.globals.verbosity < 0 {
			_, err = fmt.Fprintln(env.stdout, img.ID)
		}
		return err
	})
}
