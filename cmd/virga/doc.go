// Command virga builds, moves and runs container images for users without
// privilege.
//
// The command is thin. A file cmd_NAME.go holds one command in three pieces:
// buildCommand describes it to urfave/cli, a buildOptions value is what its
// options mean, and runBuild calls one package and prints the result. Nothing
// here is global: everything a command may touch of the process (streams,
// variables, working directory, logger) is in an *environment, so that tests
// call run in process.
//
// The way of a command line: normalize (argv.go) brings GNU-style arguments
// into the order that urfave/cli expects; run (app.go) hands them over; report
// (report.go) prints the error, if any, and exitCode (exit.go) turns it into
// the exit status.
package main
