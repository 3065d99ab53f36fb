package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/registry"
)

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
		if err == nil && len(seen) == 0 {
			return &usageError{msg: "verify: whose signature? Neither an option nor the signature policy demands one", hint: "--verify-key FILE, or --verify-identity ID with --verify-issuer ISS"}
		}
		for _, v := range seen {
			fmt.Fprintf(env.stdout, "%s %s\n", v.Digest, v.Signer())
		}
		return err
	})
}
