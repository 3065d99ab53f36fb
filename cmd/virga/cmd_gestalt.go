package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"virga/unpriv"
)

// gestaltFeatures are what gestalt answers, with ch-image's names where it has
// one.
var gestaltFeatures = []string{"bucache", "dependencies", "overlay", "storage-path", "userns"}

func gestaltCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "gestalt",
		Usage:     "tell by the exit status whether there is a feature",
		ArgsUsage: "FEATURE",
		Description: `FEATURE is bucache (a build cache: always), dependencies (as --dependencies),
overlay (overlay mounts by users), userns (user namespaces), or storage-path,
which is printed. The status is 0 if it is there, else 1; 2 if it is unknown.`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "FEATURE"); err != nil {
				return err
			}
			return runGestalt(c.Context, env, c.Args().First())
		},
	}
}

func runGestalt(ctx context.Context, env *environment, feature string) error {
	var err error
	switch feature {
	case "bucache":
	case "dependencies":
		return runDependencies(ctx, env)
	case "storage-path":
		return runStoragePath(ctx, env)
	case "overlay":
		err = unpriv.Probe(ctx).Overlay
	case "userns":
		err = unpriv.Probe(ctx).UserNS
	default:
		return notOneOf("gestalt: the feature", feature, gestaltFeatures)
	}
	if err != nil {
		env.log.Debug(err.Error())
		return &statusError{code: exitFailed}
	}
	return nil
}
