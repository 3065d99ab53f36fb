package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// environment is what a command may touch of the process it runs in.
type environment struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	// lookupEnv tells a variable that is empty from one that is not set.
	lookupEnv func(string) (string, bool)
	siteFile  string // of the site's defaults; "": none
	// systemPolicy is the system's signature policy; "": none.
	systemPolicy string
	dir          string // working directory, absolute
	uid          int    // effective user

	log     *slog.Logger
	logFile *os.File     // nil: none
	fileLog *slog.Logger // of logFile alone; nil: none
	globals globals
	show    *display // nil until the options are read
}

// processEnvironment is the environment of the real process. A working
// directory that no longer exists is "", found out when something needs it.
func processEnvironment() *environment {
	dir, _ := os.Getwd()
	return &environment{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, lookupEnv: os.LookupEnv, siteFile: siteFile, systemPolicy: "/etc/containers/policy.json", dir: dir, uid: os.Geteuid()}
}

// abs returns path as the user meant it: relative to the working directory.
func (env *environment) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(env.dir, path)
}
