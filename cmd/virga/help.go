package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// helpColumn is where the explanations of options and commands begin.
const helpColumn = 32

// printProgramHelp prints the overview: commands and global options.
func printProgramHelp(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, "%s\n", app.Usage)
	printExamples(w, "")
	fmt.Fprintf(w, "\nUsage: %s\n\nCommands:\n", app.UsageText)
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, c := range app.Commands {
		if !c.Hidden {
			fmt.Fprintf(tw, "  %s\t%s\n", strings.Join(c.Names(), ", "), c.Usage)
		}
	}
	tw.Flush()
	fmt.Fprint(w, "\nOptions of every command:\n")
	printFlags(w, app.Flags)
	fmt.Fprint(w, "\n'virga COMMAND --help' explains a command; virga(1) is the manual.\n")
}

// printCommandHelp prints how one command is used.
func printCommandHelp(w io.Writer, c *cli.Command) {
	fmt.Fprintf(w, "%s\n", sentence(c.Usage))
	printExamples(w, c.Name)
	fmt.Fprintf(w, "\nUsage: virga %s", c.Name)
	if len(c.Flags) > 0 {
		fmt.Fprint(w, " [OPTION...]")
	}
	if c.ArgsUsage != "" {
		fmt.Fprint(w, " "+c.ArgsUsage)
	}
	fmt.Fprintln(w)
	if len(c.Aliases) > 0 {
		fmt.Fprintf(w, "Other names: %s\n", strings.Join(c.Aliases, ", "))
	}
	if c.Description != "" {
		fmt.Fprintf(w, "\n%s\n", c.Description)
	}
	if len(c.Flags) > 0 {
		fmt.Fprint(w, "\nOptions:\n")
		printFlags(w, c.Flags)
	}
	fmt.Fprintf(w, "\n'virga --help' lists the options of every command; virga-%s(1) is the manual.\n", c.Name)
}

func printExamples(w io.Writer, command string) {
	list := examples(command)
	if len(list) == 0 {
		return
	}
	fmt.Fprint(w, "\nExamples:\n")
	for _, e := range list {
		fmt.Fprintf(w, "  %s\n", e)
	}
}

func printFlags(w io.Writer, flags []cli.Flag) {
	for _, f := range flags {
		_, text := flagUsage(f)
		s := "  " + flagSynopsis(f)
		if len(s) > helpColumn-2 {
			s += "\n" + strings.Repeat(" ", helpColumn)
		}
		fmt.Fprintf(w, "%-*s%s\n", helpColumn, s, text)
	}
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
