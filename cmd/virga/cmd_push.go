package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/registry"
	"virga/storage"
	"virga/trust"
)

// pushOptions is what the options of push mean.
type pushOptions struct {
	image string          // REF as given, looked up in storage
	dest  image.Reference // where it goes
	dir   string          // --image: push this directory instead, absolute
	push  exchange.PushOptions
	key   string // file of the key to sign with, or ""
	form  exchange.SignFormat
}

// compressions are the types of --compression.
var compressions = []string{"gzip", "zstd", "none"}

func pushCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "push",
		Usage:     "push an image to a registry",
		ArgsUsage: "REF [DEST]",
		Description: `Layers that came from a registry are sent as they came, the others are packed
once. What the registry has is not sent, but mounted if another repository has it.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "image", Usage: "push the directory `DIR` under the name REF"},
			&cli.BoolFlag{Name: "flatten-owners", Usage: "push every file as root:root, without setuid and setgid bits"},
			&cli.StringFlag{Name: "compression", Usage: "pack new layers with `TYPE[:LEVEL]`: gzip (the default), zstd or none"},
			&choiceFlag{&cli.StringFlag{Name: "format", Usage: "`TYPE` of the manifest: oci (the default for built images) or docker"},
				[]string{exchange.FormatOCI, exchange.FormatDocker}},
			&cli.StringFlag{Name: "sign-key", Usage: "sign the image with the private key in `FILE`"},
			signFormatFlag(),
		},
		Action: func(c *cli.Context) error {
			opts, err := newPushOptions(env, c)
			if err != nil {
				return err
			}
			return runPush(c.Context, env, opts)
		},
	}
}

func newPushOptions(env *environment, c *cli.Context) (pushOptions, error) {
	o := pushOptions{image: c.Args().First(), key: c.String("sign-key"), form: exchange.SignFormat(c.String("sign-format"))}
	if err := wantArgs(c, 1, 2, "REF"); err != nil {
		return o, err
	}
	o.push.FlattenOwners = c.Bool("flatten-owners")
	if s := c.String("compression"); s != "" {
		var err error
		if o.push.Compression, err = exchange.ParseCompression(s); err != nil {
			word, _, _ := strings.Cut(s, ":")
			return o, &usageError{msg: fmt.Sprintf("push: --%v", err), hint: didYouMean(word, compressions)}
		}
	}
	o.push.Format = c.String("format")
	if o.push.Format == exchange.FormatDocker && o.push.Compression.Type == "zstd" {
		return o, usagef("push: Docker's format knows no zstd: --compression zstd goes with --format oci")
	}
	if d := c.String("image"); d != "" {
		o.dir = env.abs(d)
	}
	dest := o.image
	if c.Args().Len() == 2 {
		dest = c.Args().Get(1)
	}
	var err error
	o.dest, err = parseReference(dest)
	return o, err
}

func runPush(ctx context.Context, env *environment, o pushOptions) error {
	epoch, err := sourceDateEpoch(env)
	if err != nil {
		return err
	}
	key, err := env.signer("--sign-key", o.key)
	if err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{Epoch: epoch}, func(store *storage.Store, x *exchange.Exchange) error {
		var p *registry.Pushed
		var err error
		if o.dir != "" {
			p, err = x.PushDir(ctx, o.dir, o.dest, o.push)
		} else {
			var img storage.Image
			if img, err = findImage(store, o.image); err == nil {
				p, err = pushImage(ctx, env, x, &img, o.dest, o.push, key, o.form)
			}
		}
		if err != nil {
			return err
		}
		env.log.Info(fmt.Sprintf("pushed %s (%s): %d blobs sent, %d mounted, %d there before", o.dest, shortID(p.Digest), p.Uploaded, p.Mounted, p.Existing))
		if key != nil {
			if err := env.sign(ctx, x, image.Reference{Host: o.dest.Host, Path: o.dest.Path, Digest: p.Digest}, key, o.form); err != nil {
				return err
			}
		}
		if env.globals.verbosity < 0 {
			_, err = fmt.Fprintln(env.stdout, p.Digest)
		}
		return err
	})
}

// pushImage pushes an image, and how it was built if that was kept: signed, if
// there is a key.
func pushImage(ctx context.Context, env *environment, x *exchange.Exchange, img *storage.Image, dest image.Reference, opts exchange.PushOptions, key *trust.Signer, form exchange.SignFormat) (*registry.Pushed, error) {
	p, err := x.Push(ctx, img, dest, opts)
	if err != nil || img.Provenance == "" {
		return p, err
	}
	if err := x.AttachProvenance(ctx, img, dest, p.Descriptor, key, form); err != nil {
		return nil, err
	}
	env.log.Info(fmt.Sprintf("attached to %s: its provenance", shortID(p.Digest)))
	return p, nil
}
