package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/storage"
)

// deleteOptions is what the options of delete mean.
type deleteOptions struct {
	globs []string
	force bool // what does not exist is no error
}

func deleteCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Aliases:   []string{"rm", "rmi"},
		Usage:     "delete images",
		ArgsUsage: "GLOB...",
		Description: `GLOB is a reference, an id, or a pattern with *, ? and [...] for references.
What exists is deleted even if another GLOB matches nothing.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not fail for images that do not exist"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, -1, "GLOB"); err != nil {
				return err
			}
			return runDelete(c.Context, env, deleteOptions{globs: c.Args().Slice(), force: c.Bool("force")})
		},
	}
}

func runDelete(ctx context.Context, env *environment, o deleteOptions) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	deleted, unmatched, err := st.Delete(ctx, o.globs...)
	for _, img := range deleted {
		env.log.Info("deleted " + img.Ref)
	}
	switch {
	case err != nil:
		return err
	case len(deleted) > 0:
		if _, err := st.Collect(ctx, storage.Policy{}); err != nil {
			return err
		}
	}
	if o.force || len(unmatched) == 0 {
		return nil
	}
	if len(unmatched) == 1 {
		return fmt.Errorf("delete %q: no such image", unmatched[0])
	}
	return fmt.Errorf("delete: no such images: %q", unmatched)
}
