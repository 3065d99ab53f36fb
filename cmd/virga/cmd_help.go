package main

import "github.com/urfave/cli/v2"

func helpCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "show help, of a command if one is named",
		ArgsUsage: "[COMMAND]",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 1, ""); err != nil {
				return err
			}
			name := c.Args().First()
			if name == "" {
				printProgramHelp(env.stdout, c.App)
				return nil
			}
			cmd := c.App.Command(name)
			if cmd == nil {
				return unknownCommand(c.App, name)
			}
			printCommandHelp(env.stdout, cmd)
			return nil
		},
	}
}
