package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"virga/exchange"
	"virga/image"
	"virga/storage"
)

func undeleteCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "undelete",
		Usage:       "bring a deleted image back",
		ArgsUsage:   "REF",
		Description: `That works as long as the build cache holds it: "virga list --undeletable" shows which.`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "REF"); err != nil {
				return err
			}
			ref, err := parseReference(c.Args().First())
			if err != nil {
				return err
			}
			return runUndelete(c.Context, env, ref)
		},
	}
}

func runUndelete(ctx context.Context, env *environment, ref image.Reference) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	flat, err := wasFlat(st, ref)
	if err != nil {
		return err
	}
	img, err := st.Undelete(ctx, ref)
	switch {
	case errors.Is(err, storage.ErrExists):
		return &hintedError{fmt.Errorf("undelete %q: image exists, will not overwrite it", ref.String()), "tag it with another name, or delete it, first"}
	case errors.Is(err, storage.ErrNotFound):
		return &hintedError{fmt.Errorf("undelete %q: not in cache", ref.String()), undeletable(st)}
	case err != nil:
		return err
	}
	if flat && img.Flat == "" {
		if err := exchange.New(st, nil, exchange.Options{Log: env.log}).MakeFlat(ctx, img); err != nil {
			return err
		}
	}
	env.log.Info(fmt.Sprintf("undeleted %s (%s)", img.Ref, shortID(img.ID)))
	return nil
}

// wasFlat reports whether a deleted image was kept as one tree as well.
func wasFlat(st *storage.Store, ref image.Reference) (bool, error) {
	deleted, err := st.Deleted()
	i := slices.IndexFunc(deleted, func(i storage.Image) bool { return i.Ref == ref.String() })
	return i >= 0 && deleted[i].Flat != "", err
}

// undeletable says which images there are to bring back.
func undeletable(st *storage.Store) string {
	deleted, err := st.Deleted()
	if err != nil || len(deleted) == 0 {
		return "no deleted image is in the build cache; it goes with \"virga prune\" and with the base image"
	}
	hint := "these can be brought back:"
	for _, i := range deleted[:min(5, len(deleted))] {
		hint += " " + i.Ref
	}
	if len(deleted) > 5 {
		hint += " ..."
	}
	return hint
}
