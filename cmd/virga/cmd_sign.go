package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/trust"
)

// signFormatFlag is --sign-format of sign and push.
func signFormatFlag() cli.Flag {
	return &choiceFlag{&cli.StringFlag{Name: "sign-format", Value: string(exchange.SignBoth), Usage: "write the signature as `FORM`: simple (cosign 2), bundle (cosign 3) or both"},
		[]string{string(exchange.SignSimple), string(exchange.SignBundle), string(exchange.SignBoth)}}
}

// signOptions is what the options of sign mean.
type signOptions struct {
	ref    image.Reference
	key    string // file
	format exchange.SignFormat
}

func signCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "sign",
		Usage:     "sign an image in a registry",
		ArgsUsage: "REF",
		Description: `The signature is put beside the image, in its repository, and those that are
there stay. cosign verifies it. What REF names is signed: an index as a whole.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "key", Usage: "sign with the private key in `FILE`"},
			signFormatFlag(),
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "REF"); err != nil {
				return err
			}
			o := signOptions{key: c.String("key"), format: exchange.SignFormat(c.String("sign-format"))}
			if o.key == "" {
				return &usageError{msg: "sign: --key is missing", hint: "virga generate-key-pair makes a key"}
			}
			var err error
			if o.ref, err = env.remoteReference(c.Args().First()); err != nil {
				return err
			}
			return runSign(c.Context, env, o)
		},
	}
}

func runSign(ctx context.Context, env *environment, o signOptions) error {
	key, err := env.signer("--key", o.key)
	if err != nil {
		return err
	}
	return env.withRegistry(exchange.Trust{}, func(x *exchange.Exchange) error {
		return env.sign(ctx, x, o.ref, key, o.format)
	})
}

// sign signs what ref names, and says so.
func (env *environment) sign(ctx context.Context, x *exchange.Exchange, ref image.Reference, key *trust.Signer, format exchange.SignFormat) error {
	d, err := x.Sign(ctx, ref, key, format)
	if err != nil {
		return err
	}
	env.log.Info(fmt.Sprintf("signed %s (%s) with key %s", ref, shortID(d), key.Public().Fingerprint()))
	return nil
}

func generateKeyPairCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "generate-key-pair",
		Usage: "make a key pair to sign with",
		Description: `The private key goes to cosign.key, encrypted with $COSIGN_PASSWORD or else a
password that is asked for, the public key to cosign.pub. cosign takes both.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output-key-prefix", Value: "cosign", Usage: "write `PREFIX`.key and PREFIX.pub"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			return runGenerateKeyPair(env, env.abs(c.String("output-key-prefix")))
		},
	}
}

func runGenerateKeyPair(env *environment, prefix string) error {
	for _, name := range []string{prefix + ".key", prefix + ".pub"} {
		if _, err := os.Lstat(name); err == nil {
			return &hintedError{fmt.Errorf("generate key pair: %q: %w", name, fs.ErrExist), "take another name with --output-key-prefix; what was signed with a lost key is verified no more"}
		}
	}
	password, err := env.newPassword()
	if err != nil {
		return err
	}
	private, public, err := trust.GenerateKeyPair(password)
	if err != nil {
		return err
	}
	if err := writeNew(prefix+".key", private, 0o600); err != nil {
		return err
	}
	if err := writeNew(prefix+".pub", public, 0o644); err != nil {
		return err
	}
	env.log.Info(fmt.Sprintf("private key in %s, public key in %s", filepath.Base(prefix+".key"), filepath.Base(prefix+".pub")))
	return nil
}

// newPassword asks twice.
func (env *environment) newPassword() ([]byte, error) {
	password, err := env.keyPassword("Password for the private key")
	if _, given := env.lookupEnv("COSIGN_PASSWORD"); given || err != nil {
		return password, err
	}
	again, err := env.keyPassword("Once more")
	if err == nil && !bytes.Equal(password, again) {
		err = errors.New("generate key pair: the passwords differ")
	}
	return password, err
}

// writeNew writes a file that does not exist yet, whole or not at all.
func writeNew(name string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(name) // half a key would be in the way of the next one
	}
	return err
}
