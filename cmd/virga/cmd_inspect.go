package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"virga/image"
	"virga/storage"
)

func inspectCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Aliases:     []string{"image-inspect"},
		Usage:       "print everything about images, as JSON",
		ArgsUsage:   "REF...",
		Description: "The result is an array with an object for each REF, as docker image inspect prints it.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print each image with the Go template `F`; json is a line of JSON"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, -1, "REF"); err != nil {
				return err
			}
			return runInspect(c.Context, env, c.Args().Slice(), c.String("format"))
		},
	}
}

// inspection is an image as `docker image inspect` prints it (Engine API
// v1.47, ImageInspect), and what virga knows besides.
type inspection struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Comment      string
	Created      string
	Author       string
	Config       image.RunConfig
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64
	RootFS       inspectedRootFS
	Metadata     inspectedMetadata
	History      []image.History
	Storage      inspectedStorage
	Source       string               `json:",omitempty"` // the reference it was pulled by
	Verified     []image.Verification `json:",omitempty"` // signatures that were demanded
}

type inspectedRootFS struct {
	Type   string
	Layers []digest.Digest
}

type inspectedMetadata struct {
	LastTagTime string
}

// inspectedStorage is where the image's files are: directories, bottom first.
type inspectedStorage struct {
	Trees []string
}

func runInspect(ctx context.Context, env *environment, refs []string, format string) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	all, err := st.Images()
	if err != nil {
		return err
	}
	out := make([]inspection, len(refs))
	for i, ref := range refs {
		img, err := findImage(st, ref)
		if err != nil {
			return err
		}
		if out[i], err = inspect(st, all, img); err != nil {
			return err
		}
	}
	switch format {
	case "":
	case "json":
		return printRows(env.stdout, out, format, "inspect")
	default: // a template names members as the JSON does
		rows := make([]any, len(out))
		for i, in := range out {
			if rows[i], err = plainJSON(in); err != nil {
				return err
			}
		}
		return printRows(env.stdout, rows, format, "inspect")
	}
	enc := json.NewEncoder(env.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	return enc.Encode(out)
}

func inspect(st *storage.Store, all []storage.Image, img storage.Image) (inspection, error) {
	c, err := st.Config(&img)
	if err != nil {
		return inspection{}, err
	}
	in := inspection{
		ID:           img.ID.String(),
		RepoTags:     namesOf(all, img),
		RepoDigests:  repoDigests(all, img),
		Author:       c.Author,
		Config:       c.Config,
		Architecture: c.Architecture,
		Variant:      c.Variant,
		Os:           c.OS,
		Size:         img.Size,
		RootFS:       inspectedRootFS{Type: "layers", Layers: c.RootFS.DiffIDs},
		Metadata:     inspectedMetadata{LastTagTime: img.Stored.Format(time.RFC3339Nano)},
		History:      c.History,
		Source:       img.Source,
		Verified:     img.Verified,
	}
	if c.Created != nil {
		in.Created = c.Created.Format(time.RFC3339Nano)
	}
	if n := len(c.History); n > 0 {
		in.Comment = c.History[n-1].Comment
	}
	for _, id := range img.Chain {
		in.Storage.Trees = append(in.Storage.Trees, st.TreePath(id))
	}
	return in, nil
}

// repoDigests are NAME@DIGEST for every name of img and every digest by which
// a registry knows it.
func repoDigests(all []storage.Image, img storage.Image) []string {
	out := []string{}
	for _, o := range all {
		if o.ID != img.ID {
			continue
		}
		ref, err := image.ParseReference(o.Ref)
		if err != nil {
			continue
		}
		for _, d := range []digest.Digest{o.IndexDigest, o.Digest} {
			if d != "" {
				out = append(out, ref.Name()+"@"+d.String())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
