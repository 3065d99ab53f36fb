package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"
)

// run is the program: it reads args (args[0] is its name), does what they say
// in env, prints the error if there is one, and returns the exit status.
func run(ctx context.Context, env *environment, args []string) int {
	env.log = slog.New(newLineHandler(env.stderr, slog.LevelInfo, env.getenv("CH_LOG_FESTOON") != ""))
	app := newApp(env)
	if len(args) > 1 && args[1] == completeCommand {
		return exitCode(runComplete(ctx, env, app, args[2:]))
	}
	defer env.closeLog()
	in, err := normalize(app, args)
	switch {
	case err != nil:
	case in.help && in.command != nil:
		printCommandHelp(env.stdout, in.command)
	case in.help:
		printProgramHelp(env.stdout, app)
	default:
		err = app.RunContext(ctx, in.argv)
	}
	if env.show != nil {
		env.show.clear()
	}
	env.report(ctx, err)
	code := exitCode(err)
	if env.show != nil {
		env.show.end(code)
	}
	return code
}

// newApp describes the command line. Parsing errors come from normalize, so
// urfave's own words, help command and exits are switched off.
func newApp(env *environment) *cli.App {
	app := &cli.App{
		Name:                      "virga",
		Usage:                     "Build, move and run container images without privilege.",
		UsageText:                 "virga [OPTION...] COMMAND [OPTION...] [ARG...]",
		Flags:                     globalFlags(),
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		Writer:                    env.stdout,
		ErrWriter:                 env.stderr,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return &usageError{msg: err.Error()}
		},
		Action: func(c *cli.Context) error { return runProgram(c.Context, env) },
	}
	app.Before = func(c *cli.Context) (err error) {
		if env.globals, err = newGlobals(c); err != nil {
			return err
		}
		return env.openLog()
	}
	app.Commands = commands(env)
	for _, c := range app.Commands {
		finishCommand(c)
	}
	return app
}

// commands are all commands in the order of help.
func commands(env *environment) []*cli.Command {
	return []*cli.Command{
		buildCommand(env),
		pullCommand(env),
		pushCommand(env),
		runCommand(env),
		shellCommand(env),
		listCommand(env),
		inspectCommand(env),
		historyCommand(env),
		tagCommand(env),
		deleteCommand(env),
		undeleteCommand(env),
		saveCommand(env),
		loadCommand(env),
		convertCommand(env),
		attestCommand(env),
		verifyAttestationCommand(env),
		modifyCommand(env),
		importCommand(env),
		unpackCommand(env),
		signCommand(env),
		verifyCommand(env),
		generateKeyPairCommand(env),
		loginCommand(env),
		logoutCommand(env),
		duCommand(env),
		pruneCommand(env),
		buildCacheCommand(env),
		storagePathCommand(env),
		resetCommand(env),
		configCommand(env),
		doctorCommand(env),
		gestaltCommand(env),
		completionCommand(env),
		versionCommand(env),
		helpCommand(env),
	}
}

// finishCommand gives a command what all of them share: wrong usage that urfave
// finds, such as a number that is none, as usageError.
func finishCommand(cmd *cli.Command) {
	cmd.HideHelp = true
	cmd.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return &usageError{msg: fmt.Sprintf("%s: %v", cmd.Name, err)}
	}
}

// runProgram is virga without a command.
func runProgram(ctx context.Context, env *environment) error {
	switch g := env.globals; {
	case g.version:
		return runVersion(ctx, env)
	case g.dependencies:
		return runDependencies(ctx, env)
	}
	return &usageError{msg: "no command given", hint: "'virga --help' lists the commands"}
}

// wantArgs checks the number of arguments; a negative most is no limit. names
// are what the arguments stand for, as in the synopsis.
func wantArgs(c *cli.Context, least, most int, names string) error {
	switch n := c.Args().Len(); {
	case n < least:
		return &usageError{
			msg:  fmt.Sprintf("%s: %s is missing", c.Command.Name, names),
			hint: fmt.Sprintf("usage: virga %s %s", c.Command.Name, c.Command.ArgsUsage),
		}
	case most >= 0 && n > most:
		return &usageError{
			msg:  fmt.Sprintf("%s: too many arguments: %q", c.Command.Name, c.Args().Get(most)),
			hint: fmt.Sprintf("usage: virga %s %s", c.Command.Name, c.Command.ArgsUsage),
		}
	}
	return nil
}
