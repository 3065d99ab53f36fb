package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/storage"
)

// unpackOptions is what the options of unpack mean.
type unpackOptions struct {
	image string // as given, looked up in storage
	dir   string // absolute; "" is the image's file name in the working directory
}

func unpackCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "unpack",
		Aliases:   []string{"export"},
		Usage:     "write an image's files to a directory",
		ArgsUsage: "REF",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the directory `DIR`, new or empty (default: the image's name, / as %)"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "REF"); err != nil {
				return err
			}
			opts := unpackOptions{image: c.Args().First()}
			if d := c.String("output"); d != "" {
				opts.dir = env.abs(d)
			}
			return runUnpack(c.Context, env, opts)
		},
	}
}

func runUnpack(ctx context.Context, env *environment, o unpackOptions) error {
	return env.withExchange(ctx, exchange.Options{}, func(store *storage.Store, x *exchange.Exchange) error {
		img, err := findImage(store, o.image)
		if err != nil {
			return err
		}
		dir := o.dir
		if dir == "" {
			ref, err := image.ParseReference(img.Ref)
			if err != nil {
				return err
			}
			dir = env.abs(ref.FileName())
		}
		if err := x.Unpack(ctx, &img, dir); err != nil {
			return err
		}
		env.log.Info(fmt.Sprintf("unpacked %s to %s", img.Ref, dir))
		return nil
	})
}
