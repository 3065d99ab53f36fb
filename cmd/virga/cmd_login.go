package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"virga/image"
	"virga/registry"
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

func runLogin(ctx context.Context, env *environment, o loginOptions) error {
	server := o.server
	if server == "" {
		server = image.DefaultHost
	}
	host := registry.ServerHost(server)
	cred, err := o.credential(env, host)
	if err != nil {
		return err
	}
	client, err := env.registryClient(nil)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Login(ctx, host, cred); err != nil {
		return err
	}
	if err := env.keychain().Store(ctx, server, cred); err != nil {
		return err
	}
	env.log.Info("logged in to " + host)
	return nil
}

// credential is what the options say, completed at the terminal.
func (o loginOptions) credential(env *environment, host string) (registry.Credential, error) {
	c := registry.Credential{Username: o.user, Password: o.password}
	if o.passwordStdin {
		if o.user == "" {
			return c, usagef("login: --password-stdin needs --username")
		}
		b, err := io.ReadAll(io.LimitReader(env.stdin, maxSecret))
		if err != nil {
			return c, fmt.Errorf("read secret: %w", err)
		}
		c.Password = strings.TrimRight(string(b), "\r\n")
		return c, nil
	}
	if c.Username != "" && c.Password != "" {
		return c, nil
	}
	return env.promptCredential(host, o.user)
}

// maxSecret bounds a secret read from standard input; tokens are a few
// kilobytes.
const maxSecret = 1 << 20

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

func runLogout(ctx context.Context, env *environment, server string) error {
	if server == "" {
		server = image.DefaultHost
	}
	found, err := env.keychain().Erase(ctx, server)
	if err != nil {
		return err
	}
	if found {
		env.log.Info("removed the secret for " + registry.ServerHost(server))
	} else {
		env.log.Info("not logged in to " + registry.ServerHost(server))
	}
	return nil
}
