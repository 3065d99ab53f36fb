package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// testApp is a small command line with every kind of option.
func testApp() *cli.App {
	return &cli.App{
		Name: "p",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "storage", Aliases: []string{"s"}},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}},
			&cli.StringFlag{Name: "arch", Aliases: []string{"a"}},
			&cli.BoolFlag{Name: helpOption, Aliases: []string{"h"}},
		},
		Commands: []*cli.Command{
			{Name: "build", Flags: []cli.Flag{
				&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}},
				&cli.StringFlag{Name: "isolation"},
				&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}},
				&optionalFlag{StringFlag: &cli.StringFlag{Name: "force"}, implied: "seccomp"},
			}},
			{Name: "prune", Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"a"}}}},
			{Name: "run", Flags: []cli.Flag{
				&cli.StringFlag{Name: "bind", Aliases: []string{"b"}},
				&cli.BoolFlag{Name: "write", Aliases: []string{"w"}},
			}},
			{Name: "list", Aliases: []string{"ls"}},
		},
	}
}

func TestNormalize(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"-v", "--verbose=true"},
		{"build .", "build -- ."},
		{"build . -t app", "build --tag=app -- ."},
		{"build -tapp .", "build --tag=app -- ."},
		{"build -t=app .", "build --tag==app -- ."},
		{"build --tag=app .", "build --tag=app -- ."},
		{"build --tag= .", "build --tag= -- ."},
		{"build --tag -n .", "build --tag=-n -- ."},
		{"build -nvtapp .", "--verbose=true build --dry-run=true --tag=app -- ."},
		{"build -t a -t b .", "build --tag=a --tag=b -- ."},
		{"build . --storage d -v", "--storage=d --verbose=true build -- ."},
		{"-s d -v build .", "--storage=d --verbose=true build -- ."},
		{"--isolation chroot build .", "build --isolation=chroot -- ."},
		{"-tapp build .", "build --tag=app -- ."},
		{"build --force .", "build --force=seccomp -- ."},
		{"build --force=none .", "build --force=none -- ."},
		{"--force build .", "build --force=seccomp -- ."},
		{"build -", "build -- -"},
		{"build -- -t", "build -- -t"},
		{"build -t x -- a -- b", "build --tag=x -- a -- b"},
		{"-- build -t", "build -- -t"},
		{"ls", "list --"},
		{"prune -a", "prune --all=true --"},
		{"-a arm64 prune", "--arch=arm64 prune --"},
		{"list -a arm64", "--arch=arm64 list --"},
		{"-v=false list", ""}, // short options take no "="
		{"--verbose=false list", "--verbose=false list --"},
		{"run -w app", "run --write=true -- app"},
		{"run app -w", "run -- app -w"},
		{"run app -- -w", "run -- app -w"},
		{"run app cmd -- -w", "run -- app cmd -- -w"},
		{"run app -- -- -w", "run -- app -- -w"},
		{"run -- app -- cmd", "run -- app cmd"},
		{"run -v -b /a app cmd -v", "--verbose=true run --bind=/a -- app cmd -v"},
	} {
		got, err := normalize(testApp(), append([]string{"p"}, strings.Fields(tc.in)...))
		if tc.in == "-v=false list" {
			if err == nil {
				t.Errorf("normalize(%q) = %q, want an error", tc.in, got.argv)
			}
			continue
		}
		if err != nil {
			t.Errorf("normalize(%q): %v", tc.in, err)
			continue
		}
		if want := append([]string{"p"}, strings.Fields(tc.want)...); !slices.Equal(got.argv, want) {
			t.Errorf("normalize(%q)\n got %q\nwant %q", tc.in, got.argv, want)
		}
		if got.help {
			t.Errorf("normalize(%q) found --help", tc.in)
		}
	}
}

func TestNormalizeEmptyArgument(t *testing.T) {
	got, err := normalize(testApp(), []string{"p", "build", "", "-t", ""})
	if want := []string{"p", "build", "--tag=", "--", ""}; err != nil || !slices.Equal(got.argv, want) {
		t.Errorf("got %q, %v; want %q", got.argv, err, want)
	}
}

func TestNormalizeHelp(t *testing.T) {
	for _, tc := range []struct {
		in, command string
		help        bool
	}{
		{"--help", "", true},
		{"-h", "", true},
		{"build --help", "build", true},
		{"-h build", "build", true},
		{"build . -vh", "build", true},
		{"run app --help", "run", false},
		{"run --help app", "run", true},
	} {
		got, err := normalize(testApp(), append([]string{"p"}, strings.Fields(tc.in)...))
		if err != nil {
			t.Errorf("normalize(%q): %v", tc.in, err)
			continue
		}
		name := ""
		if got.command != nil {
			name = got.command.Name
		}
		if name != tc.command || got.help != tc.help {
			t.Errorf("normalize(%q): command %q, help %v; want %q, %v", tc.in, name, got.help, tc.command, tc.help)
		}
	}
}

func TestNormalizeErrors(t *testing.T) {
	for _, tc := range []struct{ in, msg, hint string }{
		{"biuld .", `unknown command "biuld"`, `did you mean "build"?`},
		{"buil", `unknown command "buil"`, `did you mean "build"?`},
		{"frobnicate", `unknown command "frobnicate"`, "'virga --help' lists the commands"},
		{"build --tga x .", "unknown option --tga for build", "did you mean --tag?"},
		{"build --sotrage x .", "unknown option --sotrage for build", "did you mean --storage?"},
		{"build -x .", "unknown option -x for build", "'virga build --help' lists the options"},
		{"build -nx .", "unknown option -x for build", "'virga build --help' lists the options"},
		{"--isolatoin x build", "unknown option --isolatoin", "did you mean --isolation?"},
		{"--isolation chroot list", "unknown option --isolation for list", "'virga list --help' lists the options"},
		{"--isolation chroot", "unknown option --isolation", "did you mean --isolation?"},
		{"list -t x", "unknown option -t for list", "'virga list --help' lists the options"},
		{"build --t x .", "unknown option --t for build", ""},
		{"build --tag", "option --tag needs a value", ""},
		{"build . -t", "option -t needs a value", ""},
		{"build --dry-run=maybe .", "option --dry-run takes no value", ""},
	} {
		_, err := normalize(testApp(), append([]string{"p"}, strings.Fields(tc.in)...))
		var usage *usageError
		if !errors.As(err, &usage) {
			t.Errorf("normalize(%q): error %v, want a usage error", tc.in, err)
			continue
		}
		if usage.msg != tc.msg || tc.hint != "" && usage.hint != tc.hint {
			t.Errorf("normalize(%q): %q, hint %q; want %q, %q", tc.in, usage.msg, usage.hint, tc.msg, tc.hint)
		}
	}
}

// Whatever is normalized stays as it is when it is normalized again.
func TestNormalizeIsIdempotent(t *testing.T) {
	words := []string{"build", "run", "app", "-t", "-nvtx", "--tag=x", "--force", "--", "-v", "-s", "d", "-w", "--isolation", "list"}
	n := 0
	var walk func(args []string, depth int)
	walk = func(args []string, depth int) {
		once, err := normalize(testApp(), args)
		if err == nil {
			n++
			twice, err := normalize(testApp(), once.argv)
			// "run -- app -- x" drops a second "--" that is the program's own.
			dashes := len(once.argv) > 0 && slices.Contains(once.argv, "run") && slices.Index(once.argv, "--") != lastIndex(once.argv, "--")
			if err != nil || !dashes && !slices.Equal(once.argv, twice.argv) {
				t.Fatalf("%q\n once %q\ntwice %q, %v", args, once.argv, twice.argv, err)
			}
		}
		if depth == 0 {
			return
		}
		for _, w := range words {
			walk(append(slices.Clone(args), w), depth-1)
		}
	}
	walk([]string{"p"}, 3)
	if n < 50 {
		t.Fatalf("only %d command lines were valid", n)
	}
}

func lastIndex(list []string, s string) int {
	for i, v := range slices.Backward(list) {
		if v == s {
			return i
		}
	}
	return -1
}
