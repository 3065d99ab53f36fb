package main

import (
	"strconv"

	"github.com/urfave/cli/v2"
)

// intFlag is an option whose value is a whole number; intOption reads it. It is
// a string to urfave, whose own number options have no error worth printing.
func intFlag(name, short, usage string) cli.Flag {
	f := &cli.StringFlag{Name: name, Usage: usage}
	if short != "" {
		f.Aliases = []string{short}
	}
	return f
}

// intOption returns the number given with an option, at least least, or absent
// if the option was not given.
func intOption(c *cli.Context, name string, least, absent int) (int, error) {
	if !c.IsSet(name) {
		return absent, nil
	}
	n, err := strconv.Atoi(c.String(name))
	if err != nil || n < least {
		return 0, usagef("%s: --%s %q is not a whole number from %d up", c.Command.Name, name, c.String(name), least)
	}
	return n, nil
}
