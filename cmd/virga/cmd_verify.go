package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/registry"
	"virga/trust"
)

// verifyFlags are the options of pull, build and verify that demand signatures.
func verifyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "verify-key", Usage: "demand a signature by the public key in `FILE`, or by one of several"},
	}
}

// trustOptions is what verifyFlags mean.
type trustOptions struct {
	keys []string // files
}

func newTrustOptions(c *cli.Context) (trustOptions, error) {
	return trustOptions{keys: c.StringSlice("verify-key")}, nil
}

// given reports whether the command line demands anything.
func (o *trustOptions) given() bool { return len(o.keys) > 0 }

// trust reads the keys.
func (o *trustOptions) trust(env *environment) (exchange.Trust, error) {
	var t exchange.Trust
	if !o.given() {
		return t, nil
	}
	want := trust.Demand{Source: "--verify-key"}
	for _, file := range o.keys {
		b, err := readSmallFile(env.abs(file), maxKey)
		if err != nil {
			return t, fmt.Errorf("--verify-key %q: %w", file, err)
		}
		key, err := trust.ParsePublicKey(b)
		if err != nil {
			return t, fmt.Errorf("--verify-key %q: %w", file, err)
		}
		want.Keys = append(want.Keys, key)
	}
	t.Demands = append(t.Demands, want)
	return t, nil
}

func verifyCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "verify the signatures of an image in a registry",
		ArgsUsage: "REF",
		Description: `Prints a line for what was verified: the digest that is signed, and who signed
it. Signatures by virga and by cosign are looked for. Nothing is stored.`,
		Flags: verifyFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "REF"); err != nil {
				return err
			}
			o, err := newTrustOptions(c)
			if err != nil {
				return err
			}
			if !o.given() {
				return usagef("verify: whose signature? --verify-key FILE says it")
			}
			ref, err := env.remoteReference(c.Args().First())
			if err != nil {
				return err
			}
			return runVerify(c.Context, env, ref, o)
		},
	}
}

func runVerify(ctx context.Context, env *environment, ref image.Reference, o trustOptions) error {
	t, err := o.trust(env)
	if err != nil {
		return err
	}
	want := registry.Want{Platform: env.globals.platform, Yolo: env.globals.anyPlatform}
	return env.withRegistry(t, func(x *exchange.Exchange) error {
		seen, err := x.Verify(ctx, ref, want)
		for _, v := range seen {
			fmt.Fprintf(env.stdout, "%s %s\n", v.Digest, v.Signer())
		}
		return err
	})
}
