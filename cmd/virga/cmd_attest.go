package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"virga/attest"
	"virga/exchange"
	"virga/storage"
	"virga/trust"
)

// attestOptions is what the options of attest mean.
type attestOptions struct {
	what    place
	built   bool   // --type provenance
	output  string // absolute; "" is standard output
	signKey string // as given
	step    string
	image   int // from 1; 0: all
}

// attestTypes are the attestations that can be made.
var attestTypes = []string{"oci", "provenance"}

func attestCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "attest",
		Usage:     "attest what an image holds, or how it was built",
		ArgsUsage: "FILE|REF",
		Description: `Reads every layer, compares it with the configuration, and prints an in-toto
statement of what was found: the oci attestation, of aflock's cilock, of each
image. FILE is what load reads; of REF, an image in storage, it is about what
save --format oci writes. --type provenance prints instead how REF was built,
which build --attest has kept. With --sign-key the statement is in a signed
envelope.`,
		Flags: []cli.Flag{
			&choiceFlag{&cli.StringFlag{Name: "type", Value: "oci", Usage: "attest `WHAT`: oci or provenance"}, attestTypes},
			&cli.StringFlag{Name: "sign-key", Usage: "sign with the private key `FILE`; $COSIGN_PASSWORD opens it"},
			&cli.StringFlag{Name: "step", Value: "attest", Usage: "call the collection `NAME`"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` (default: standard output)"},
			intFlag("image", "", "attest the image number `N` of FILE alone, counted from 1 (default: all)"),
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "FILE or REF"); err != nil {
				return err
			}
			o := attestOptions{what: parsePlace(env, c.Args().First()), signKey: c.String("sign-key"), step: c.String("step")}
			switch o.what.form {
			case "dir", "tar", "squashfs":
				return &usageError{msg: fmt.Sprintf("attest: %s is a root file system, not an image", o.what.text), hint: "virga import makes an image of it"}
			}
			if f := c.String("output"); f != "" && f != "-" {
				o.output = env.abs(f)
			}
			o.built = c.String("type") == "provenance"
			for _, name := range []string{"step", "image"} {
				if o.built && c.IsSet(name) {
					return usagef("attest: --%s is for --type oci", name)
				}
			}
			var err error
			if o.image, err = intOption(c, "image", 1, 0); err != nil {
				return err
			}
			return runAttest(c.Context, env, o)
		},
	}
}

func runAttest(ctx context.Context, env *environment, o attestOptions) error {
	return env.withAttestor(ctx, o.signKey, func(store *storage.Store, x *exchange.Exchange, key *trust.Signer) error {
		st, err := o.statement(ctx, env, store, x)
		if err != nil {
			return err
		}
		return env.writeStatement(o.output, st, key)
	})
}

// withAttestor calls f with the key of --sign-key, nil if signKey is "", and
// what dates statements by $SOURCE_DATE_EPOCH.
func (env *environment) withAttestor(ctx context.Context, signKey string, f func(*storage.Store, *exchange.Exchange, *trust.Signer) error) error {
	key, err := env.signer("--sign-key", signKey)
	if err != nil {
		return err
	}
	epoch, err := sourceDateEpoch(env)
	if err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{Epoch: epoch}, func(store *storage.Store, x *exchange.Exchange) error {
		return f(store, x, key)
	})
}

// statement is about the image in storage, if there is one of that name, else
// about the file.
func (o *attestOptions) statement(ctx context.Context, env *environment, store *storage.Store, x *exchange.Exchange) (*attest.Statement, error) {
	if o.built {
		images, err := findNamed(store, []string{o.what.text})
		if err != nil {
			return nil, err
		}
		return x.AttestBuilt(ctx, images[0])
	}
	images, path, err := env.imagesOrFile(store, o.what)
	if err != nil {
		return nil, err
	}
	if images != nil {
		if o.image > 0 {
			return nil, usagef("attest: --image is for files: %s is one image in storage", o.what.text)
		}
		return x.AttestStored(ctx, images, o.step)
	}
	want := env.wantedFromFiles()
	want.All = !want.Strict
	return x.Attest(ctx, path, exchange.AttestOptions{Step: o.step, Image: o.image, Want: want})
}

// imagesOrFile finds what a word means: the image in storage, if there is one
// of that name, else the path of a file.
func (env *environment) imagesOrFile(store *storage.Store, what place) ([]exchange.Named, string, error) {
	switch what.path {
	case "":
	case "-":
		return nil, "/dev/stdin", nil
	default:
		return nil, what.path, nil
	}
	images, err := findNamed(store, []string{what.text})
	if err == nil {
		return images, "", nil
	}
	path := env.abs(what.text)
	if _, serr := os.Stat(path); serr != nil || !errors.Is(err, storage.ErrNotFound) {
		return nil, "", err
	}
	return nil, path, nil
}

// writeStatement writes a statement, in an envelope if there is a key, to a
// file that is replaced when it is whole, or to standard output.
func (env *environment) writeStatement(path string, st *attest.Statement, key *trust.Signer) error {
	b, err := document(st, key)
	if err != nil {
		return err
	}
	if path == "" {
		_, err = env.stdout.Write(b)
		return err
	}
	err = exchange.SaveFile(path, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
	if err == nil {
		env.log.Info(fmt.Sprintf("attested: %d subjects, %s", len(st.Subject), path))
	}
	return err
}
