package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/layer"
	"virga/storage"
	"virga/trust"
)

// saveOptions is what the options of save mean.
type saveOptions struct {
	images []string // as given, looked up in storage
	format string
	output string // absolute; "" is standard output

	attest  string // --attest: absolute; "": no attestation
	signKey string // of it, as given
}

// saveFormats are the forms in which images are saved. Those of files alone
// take one image.
var saveFormats = []string{"docker", "oci", "tar", "squashfs", "dir"}

func saveCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "save",
		Usage:     "write images to a file",
		ArgsUsage: "REF...",
		Description: `docker and oci files hold whole images, of any number; docker's is an OCI
archive that docker load takes, too. tar, squashfs and dir hold the files of
one image. A FILE that ends in .gz, .tgz or .zst is compressed. --attest
reads the layers at the same time and says what the file holds, as virga
attest would.`,
		Flags: []cli.Flag{
			&choiceFlag{&cli.StringFlag{Name: "format", Value: "docker", Usage: "write `FORM`: docker, oci, tar, squashfs or dir"}, saveFormats},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` (default: standard output)"},
			&cli.StringFlag{Name: "attest", Usage: "write an attestation of what is saved to `FILE`"},
			&cli.StringFlag{Name: "sign-key", Usage: "sign the attestation with the private key `FILE`; $COSIGN_PASSWORD opens it"},
		},
		Action: func(c *cli.Context) error {
			opts, err := newSaveOptions(env, c)
			if err != nil {
				return err
			}
			return runSave(c.Context, env, opts)
		},
	}
}

func newSaveOptions(env *environment, c *cli.Context) (saveOptions, error) {
	o := saveOptions{images: c.Args().Slice(), format: c.String("format")}
	if err := wantArgs(c, 1, -1, "REF"); err != nil {
		return o, err
	}
	if f := c.String("output"); f != "" && f != "-" {
		o.output = env.abs(f)
	}
	whole := o.format == "docker" || o.format == "oci"
	if o.signKey = c.String("sign-key"); o.signKey != "" && !c.IsSet("attest") {
		return o, &usageError{msg: "save: --sign-key has nothing to sign", hint: "--attest FILE makes an attestation"}
	}
	if f := c.String("attest"); f != "" {
		o.attest = env.abs(f)
		if !whole {
			return o, usagef("save: --attest is for images: --format docker or oci, not %s", o.format)
		}
	}
	if !whole && len(o.images) > 1 {
		return o, &usageError{msg: fmt.Sprintf("save: --format %s takes one image, not %d", o.format, len(o.images)), hint: "docker and oci files hold several images"}
	}
	if o.output != "" {
		return o, nil
	}
	if o.format == "dir" || o.format == "squashfs" {
		return o, usagef("save: --format %s needs --output, it cannot go to standard output", o.format)
	}
	if isTerminal(env.stdout) {
		return o, &usageError{msg: "save: standard output is a terminal", hint: "-o FILE writes to a file"}
	}
	return o, nil
}

func runSave(ctx context.Context, env *environment, o saveOptions) error {
	return env.withAttestor(ctx, o.signKey, func(store *storage.Store, x *exchange.Exchange, key *trust.Signer) error {
		images, err := findNamed(store, o.images)
		if err != nil {
			return err
		}
		var watch *exchange.Watch
		if o.attest != "" {
			watch = x.NewWatch()
		}
		if err := saveImages(ctx, env, x, images, o.format, o.output, watch); err != nil {
			return err
		}
		if watch != nil {
			st, err := watch.Statement("save")
			if err != nil {
				return err
			}
			if err := env.writeStatement(o.attest, st, key); err != nil {
				return err
			}
		}
		for _, img := range images {
			if o.output != "" {
				env.log.Info(fmt.Sprintf("saved %s to %s", img.Image.Ref, o.output))
			}
		}
		return nil
	})
}

// saveImages writes images in one of saveFormats to path, or to standard
// output if path is "". watch is for the forms that hold whole images; nil:
// nobody watches.
func saveImages(ctx context.Context, env *environment, x *exchange.Exchange, images []exchange.Named, format, path string, watch *exchange.Watch) error {
	switch format {
	case "dir":
		return x.Unpack(ctx, images[0].Image, path)
	case "squashfs":
		return x.SaveSquash(ctx, path, images[0].Image)
	}
	write := func(w io.Writer) error {
		if format == "tar" {
			return x.SaveTree(ctx, w, images[0].Image)
		}
		return x.Save(ctx, w, images, format == "docker", watch)
	}
	tee := func(w io.Writer) io.Writer { return w }
	if watch != nil {
		tee = watch.Tee
	}
	if path == "" {
		return write(tee(env.stdout))
	}
	how, err := compressionFor(path)
	if err != nil {
		return err
	}
	return exchange.SaveFile(path, func(f *os.File) error {
		zw, err := layer.Compress(tee(f), how, 0)
		if err != nil {
			return err
		}
		if err := write(zw); err != nil {
			return err
		}
		return zw.Close()
	})
}

// compressionFor is the compression that the name of a file asks for.
func compressionFor(path string) (layer.Compression, error) {
	switch name := strings.ToLower(path); {
	case strings.HasSuffix(name, ".gz"), strings.HasSuffix(name, ".tgz"):
		return layer.Gzip, nil
	case strings.HasSuffix(name, ".zst"), strings.HasSuffix(name, ".zstd"), strings.HasSuffix(name, ".tzst"):
		return layer.Zstd, nil
	case strings.HasSuffix(name, ".xz"), strings.HasSuffix(name, ".txz"), strings.HasSuffix(name, ".bz2"):
		return 0, &usageError{msg: fmt.Sprintf("write %q: xz and bzip2 can only be read", path), hint: "name it .zst or .gz"}
	}
	return layer.Uncompressed, nil
}

// findNamed finds images, each once, with the names by which they were asked
// for. One that was named by its id or digest keeps all its names.
func findNamed(store *storage.Store, queries []string) ([]exchange.Named, error) {
	var out []exchange.Named
	for _, q := range queries {
		found, err := store.Lookup(q)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(out, func(n exchange.Named) bool {
			return n.Image.ID == found[0].ID && n.Image.Digest == found[0].Digest
		})
		if i < 0 {
			i = len(out)
			out = append(out, exchange.Named{Image: &found[0]})
		}
		for _, f := range found {
			ref, err := image.ParseReference(f.Ref)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(out[i].Names, ref) {
				out[i].Names = append(out[i].Names, ref)
			}
		}
	}
	return out, nil
}
