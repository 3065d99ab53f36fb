package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

// loginOptions is what the options of login mean.
type loginOptions struct {
	server        string // "" is Docker Hub
	user          string
	password      string
	passwordStdin bool
}

func loginCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "login",
		Usage:     "log in to a registry",
		ArgsUsage: "[SERVER]",
		Description: `The name and secret are verified with the registry and then stored, readable
for you alone. What is not given is asked for. SERVER is docker.io if left out.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "username", Aliases: []string{"u"}, Usage: "the user `U`"},
			&cli.StringFlag{Name: "password", Aliases: []string{"p"}, Usage: "the secret `P`, visible to others in the process list"},
			&cli.BoolFlag{Name: "password-stdin", Usage: "read the secret from standard input"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 1, ""); err != nil {
				return err
			}
			o := loginOptions{server: c.Args().First(), user: c.String("username"), password: c.String("password"), passwordStdin: c.Bool("password-stdin")}
			if o.password != "" && o.passwordStdin {
				return usagef("login: --password and --password-stdin exclude each other")
			}
			return runLogin(c.Context, env, o)
		},
	}
}

func runLogin(_ context.Context, _ *environment, _ loginOptions) error { return errNotYet("login") }

func logoutCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "logout",
		Usage:     "forget the secret for a registry",
		ArgsUsage: "[SERVER]",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 1, ""); err != nil {
				return err
			}
			return runLogout(c.Context, env, c.Args().First())
		},
	}
}

func runLogout(_ context.Context, _ *environment, _ string) error { return errNotYet("logout") }
