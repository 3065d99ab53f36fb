package main

import (
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"virga/image"
)

// globals is what the options that every command takes mean.
type globals struct {
	storage        string // --storage as given; storageDir has the whole rule
	platform       image.Platform
	platformGiven  bool // not left to the default
	anyPlatform    bool // --arch yolo
	cache          cacheMode
	alwaysDownload bool
	auth           bool
	passwordMany   bool
	tlsNoVerify    bool
	plainHTTP      bool
	noLock         bool
	verbosity      int // -v counts up, -q down, --debug is 2
	progress       string
	logFile        string
	version        bool
	dependencies   bool
}

// cacheMode says what a build does with the build cache.
type cacheMode int

const (
	cacheUse     cacheMode = iota
	cacheOff               // --no-cache: neither look up nor store
	cacheRebuild           // --rebuild: run everything, store the results
)

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "storage", Aliases: []string{"s"}, Usage: "storage directory `DIR`"},
		&cli.StringFlag{Name: "arch", Aliases: []string{"a"}, Usage: "architecture `ARCH`: host, yolo (whatever the registry gives), or a name"},
		&cli.StringFlag{Name: "platform", Usage: "platform `OS/ARCH[/VARIANT]`"},
		&cli.BoolFlag{Name: "cache", Usage: "use the build cache (the default)"},
		&cli.BoolFlag{Name: "no-cache", Usage: "do not use the build cache"},
		&cli.BoolFlag{Name: "rebuild", Usage: "run every instruction again and store the results"},
		&cli.BoolFlag{Name: "always-download", Usage: "download blobs again that are in storage"},
		&cli.BoolFlag{Name: "auth", Usage: "log in to registries from the first request"},
		&cli.BoolFlag{Name: "password-many", Usage: "ask again each time a secret is needed"},
		&cli.BoolFlag{Name: "tls-no-verify", Usage: "accept any certificate of a registry"},
		&cli.BoolFlag{Name: "plain-http", Usage: "speak HTTP to registries"},
		&cli.BoolFlag{Name: "no-lock", Usage: "do not lock the storage directory"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say more; may be repeated"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say less; may be repeated"},
		&cli.BoolFlag{Name: "debug", Usage: "say what happens inside"},
		&choiceFlag{&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show long work as `HOW`: auto, tty, plain, json or none"},
			[]string{"auto", "tty", "plain", "json", "none"}},
		&cli.StringFlag{Name: "log-file", Usage: "append the log to `FILE` as well"},
		&cli.BoolFlag{Name: helpOption, Aliases: []string{"h"}, Usage: "show help"},
		&cli.BoolFlag{Name: "version", Usage: "print the version"},
		&cli.BoolFlag{Name: "dependencies", Usage: "print what this host lacks, a line each"},
	}
}

// newGlobals reads the global options of c, the program's own context.
func newGlobals(c *cli.Context) (globals, error) {
	g := globals{
		storage:        c.String("storage"),
		alwaysDownload: c.Bool("always-download"),
		auth:           c.Bool("auth"),
		passwordMany:   c.Bool("password-many"),
		tlsNoVerify:    c.Bool("tls-no-verify"),
		plainHTTP:      c.Bool("plain-http"),
		noLock:         c.Bool("no-lock"),
		verbosity:      c.Count("verbose") - c.Count("quiet"),
		progress:       c.String("progress"),
		logFile:        c.String("log-file"),
		version:        c.Bool("version"),
		dependencies:   c.Bool("dependencies"),
	}
	if c.Bool("debug") {
		g.verbosity = debugVerbosity
	}
	if c.Count("verbose") > 0 && c.Count("quiet") > 0 {
		return g, usagef("--verbose and --quiet exclude each other")
	}
	if err := g.setPlatform(c.String("arch"), c.String("platform")); err != nil {
		return g, err
	}
	return g, g.setCache(c.Bool("cache"), c.Bool("no-cache"), c.Bool("rebuild"))
}

func (g *globals) setPlatform(arch, platform string) error {
	g.platform = image.Host()
	name := arch
	switch {
	case arch != "" && platform != "":
		return usagef("--arch and --platform exclude each other")
	case arch == "yolo":
		g.anyPlatform = true
		return nil
	case platform != "":
		name = platform
	case arch == "":
		return nil
	}
	p, err := image.ParsePlatform(name)
	if err != nil {
		return &usageError{msg: err.Error()}
	}
	g.platform, g.platformGiven = p, true
	return nil
}

func (g *globals) setCache(use, off, rebuild bool) error {
	n := 0
	for _, set := range []bool{use, off, rebuild} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		return usagef("--cache, --no-cache and --rebuild exclude each other")
	case off:
		g.cache = cacheOff
	case rebuild:
		g.cache = cacheRebuild
	}
	return nil
}

// storageDir is the storage directory. It need not exist.
func (env *environment) storageDir() (string, error) {
	s := site{}
	if env.globals.storage == "" && env.getenv("VIRGA_STORAGE") == "" && env.getenv("CH_IMAGE_STORAGE") == "" {
		var err error
		if s, err = env.readSite(); err != nil {
			return "", err
		}
	}
	dir, _, err := env.storageSource(s)
	return dir, err
}

// storageSource is the storage directory and where it comes from: --storage,
// else $VIRGA_STORAGE, else $CH_IMAGE_STORAGE, else the site's file, else
// /var/tmp/$USER.virga.
func (env *environment) storageSource(s site) (dir, source string, err error) {
	if env.globals.storage != "" {
		return env.abs(env.globals.storage), "--storage", nil
	}
	if dir := env.getenv("VIRGA_STORAGE"); dir != "" {
		return env.abs(dir), "$VIRGA_STORAGE", nil
	}
	if dir := env.getenv("CH_IMAGE_STORAGE"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", "", fmt.Errorf("$CH_IMAGE_STORAGE %q is not an absolute path", dir)
		}
		return filepath.Clean(dir), "$CH_IMAGE_STORAGE", nil
	}
	if s.storage != "" {
		dir, err := s.storageDir(env)
		return dir, s.file, err
	}
	name, err := env.userName()
	if err != nil {
		return "", "", err
	}
	return filepath.Join("/var/tmp", name+".virga"), "default", nil
}

// userName is $USER, else the name of the effective user, else its number.
func (env *environment) userName() (string, error) {
	name := env.getenv("USER")
	if name == "" {
		if u, err := user.LookupId(strconv.Itoa(env.uid)); err == nil {
			name = u.Username
		} else {
			name = strconv.Itoa(env.uid)
		}
	}
	if filepath.Base(name) != name || name == "." || name == ".." {
		return "", errors.New("find the storage directory: $USER is not a name")
	}
	return name, nil
}
