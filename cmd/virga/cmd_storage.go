package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"virga/storage"
)

func storagePathCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "storage-path",
		Usage: "print the storage directory",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			return runStoragePath(c.Context, env)
		},
	}
}

func runStoragePath(_ context.Context, env *environment) error {
	dir, err := env.storageDir()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, dir)
	return err
}

func resetCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "reset",
		Usage:       "delete the storage directory and everything in it",
		Description: "A directory that is not virga's is left alone. Nothing is asked.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			return runReset(c.Context, env)
		},
	}
}

func runReset(ctx context.Context, env *environment) error {
	dir, err := env.storageDir()
	if err != nil {
		return err
	}
	return storage.Reset(ctx, dir, env.storageOptions())
}
