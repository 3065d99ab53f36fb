package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/storage"
)

func convertCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "change the form of an image",
		ArgsUsage: "IN OUT",
		Description: `IN and OUT are a reference in storage or a file. Which form a file has is said
by a word in front: docker-archive:, oci-archive:, oci: (a layout directory),
dir: (a root file system), tar:, or squashfs:. Without one, IN is looked at;
OUT is a root file system in SquashFS or a tar if its name ends in .sqfs,
.squash, .squashfs, .tar, .tar.gz, .tgz or .tar.zst, a directory if it begins
with / or . or ends with /, else a reference.`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 2, 2, "IN or OUT"); err != nil {
				return err
			}
			in, out := parsePlace(env, c.Args().Get(0)), parsePlace(env, c.Args().Get(1))
			if out.form == "" && out.path != "" {
				out.form = formOf(c.Args().Get(1))
			}
			return runConvert(c.Context, env, in, out)
		},
	}
}

// place is an image in storage or in a file.
type place struct {
	text string // as given
	form string // one of the words before the colon; "": not said
	path string // absolute; "": it can only be a reference
}

// forms are the words that say what form a file has, and the form that save
// calls the same.
var forms = map[string]string{
	"docker-archive": "docker", "oci-archive": "oci", "oci": "layout", "dir": "dir", "tar": "tar", "squashfs": "squashfs", "sqfs": "squashfs",
}

func parsePlace(env *environment, s string) place {
	if word, path, ok := strings.Cut(s, ":"); ok && forms[word] != "" && path != "" {
		if path == "-" {
			return place{text: s, form: forms[word], path: "-"}
		}
		return place{text: s, form: forms[word], path: env.abs(path)}
	}
	if s == "-" {
		return place{text: s, path: "-"}
	}
	p := place{text: s}
	if isFileName(s) || formBySuffix(s) != "" {
		p.path = env.abs(s)
	}
	return p
}

// isFileName reports whether s can be no reference.
func isFileName(s string) bool {
	return strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") || strings.HasSuffix(s, "/")
}

func formBySuffix(s string) string {
	has := func(suffix string) bool { return strings.HasSuffix(strings.ToLower(s), suffix) }
	switch {
	case slices.ContainsFunc([]string{".sqfs", ".squash", ".squashfs", ".squishy"}, has):
		return "squashfs"
	case slices.ContainsFunc([]string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz"}, has):
		return "tar"
	}
	return ""
}

// formOf is the form of an OUT that is not said.
func formOf(s string) string {
	if f := formBySuffix(s); f != "" {
		return f
	}
	return "dir"
}

func runConvert(ctx context.Context, env *environment, in, out place) error {
	var ref image.Reference
	switch {
	case out.path == "":
		var err error
		if ref, err = parseReference(out.text); err != nil {
			return err
		}
	case out.path == "-" && (out.form == "" || out.form == "dir" || out.form == "layout" || out.form == "squashfs"):
		return usagef("convert: only docker-archive:-, oci-archive:- and tar:- go to standard output")
	case out.path == "-" && isTerminal(env.stdout):
		return &usageError{msg: "convert: standard output is a terminal", hint: "give a file name"}
	}
	epoch, err := sourceDateEpoch(env)
	if err != nil {
		return err
	}
	return env.withExchange(ctx, exchange.Options{Epoch: epoch}, func(store *storage.Store, x *exchange.Exchange) error {
		images, err := readPlace(ctx, env, store, x, in)
		if err != nil {
			return err
		}
		if len(images) > 1 && out.form != "docker" && out.form != "oci" && out.form != "layout" {
			return &usageError{msg: fmt.Sprintf("convert: %s has %d images, %s can have one", in.text, len(images), out.text), hint: "docker-archive:, oci-archive: and oci: hold several; virga load takes all"}
		}
		if err := writePlace(ctx, env, x, images, out, ref); err != nil {
			return err
		}
		env.log.Info(fmt.Sprintf("converted %s to %s", in.text, out.text))
		return nil
	})
}

// readPlace finds the images of IN.
func readPlace(ctx context.Context, env *environment, store *storage.Store, x *exchange.Exchange, in place) ([]exchange.Named, error) {
	if in.path == "" {
		images, err := findNamed(store, []string{in.text})
		if err == nil || !errors.Is(err, storage.ErrNotFound) {
			return images, err
		}
		if _, serr := os.Stat(env.abs(in.text)); serr != nil {
			return nil, err
		}
		in.path = env.abs(in.text)
	}
	if in.path == "-" {
		in.path = "/dev/stdin"
	}
	images, err := x.Read(ctx, in.path, env.wantedFromFiles(), in.form == "dir" || in.form == "tar" || in.form == "squashfs")
	if err != nil {
		return nil, err
	}
	return images, nil
}

func writePlace(ctx context.Context, env *environment, x *exchange.Exchange, images []exchange.Named, out place, ref image.Reference) error {
	switch {
	case out.path == "":
		return x.Name(ctx, images[0].Image, ref)
	case out.form == "layout":
		return x.SaveLayout(ctx, out.path, images)
	case out.path == "-":
		out.path = ""
	}
	return saveImages(ctx, env, x, images, out.form, out.path, nil)
}
