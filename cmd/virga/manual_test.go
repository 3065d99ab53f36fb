package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

const manualDir = "../../docs/man"

// manualOptions are the options that a page explains: the heads of its
// paragraphs that begin with a dash, without font changes.
func manualOptions(t *testing.T, page string) []string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^\.TP\n(\\fB\\-.*)$`).FindAllStringSubmatch(string(b), -1) {
		out = append(out, plainRoff(m[1]))
	}
	return out
}

func plainRoff(s string) string {
	return strings.NewReplacer(`\fB`, "", `\fI`, "", `\fR`, "", `\-`, "-", `\&`, "").Replace(s)
}

func helpOptions(flags []cli.Flag) []string {
	var out []string
	for _, f := range flags {
		out = append(out, strings.TrimSpace(flagSynopsis(f)))
	}
	return out
}

// The manual and --help name the same options, in the same spelling.
func TestManualHasTheOptions(t *testing.T) {
	app := newApp(newFixture(t, nil).env)
	check := func(page string, flags []cli.Flag) {
		got, want := manualOptions(t, filepath.Join(manualDir, page)), helpOptions(flags)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s\n has %q\nhelp %q", page, got, want)
		}
	}
	check("virga.1", app.Flags)
	for _, c := range app.Commands {
		check("virga-"+c.Name+".1", c.Flags)
	}
}

// Each command has a page, each page a command; the page has the command's
// summary and its other names, and virga(1) lists it.
func TestManualHasTheCommands(t *testing.T) {
	app := newApp(newFixture(t, nil).env)
	overview, err := os.ReadFile(filepath.Join(manualDir, "virga.1"))
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"virga.1"}
	for _, c := range app.Commands {
		name := "virga-" + c.Name + ".1"
		pages = append(pages, name)
		b, err := os.ReadFile(filepath.Join(manualDir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		text := plainRoff(string(b))
		for _, want := range append([]string{".B virga " + c.Name + "\n", "virga-" + c.Name + " - "}, c.Aliases...) {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		if !strings.Contains(plainRoff(string(overview)), c.Name) {
			t.Errorf("virga.1 does not list %s", c.Name)
		}
	}
	files, err := filepath.Glob(filepath.Join(manualDir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(pages, filepath.Base(f)) {
			t.Errorf("%s is of no command", f)
		}
	}
}

// Examples and references in the manual are to commands and pages that exist.
func TestManualReferences(t *testing.T) {
	app := newApp(newFixture(t, nil).env)
	files, err := filepath.Glob(filepath.Join(manualDir, "*.1"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := plainRoff(string(b))
		for _, m := range regexp.MustCompile(`(?m)^\.BR (virga[a-z-]*) \(1\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(manualDir, m[1]+".1")); err != nil {
				t.Errorf("%s refers to %s(1), which does not exist", filepath.Base(f), m[1])
			}
		}
		for _, block := range regexp.MustCompile(`(?s)\.nf\n\.RS\n(.*?)\.RE`).FindAllStringSubmatch(text, -1) {
			for _, m := range regexp.MustCompile(`virga ([a-z-]+)`).FindAllStringSubmatch(block[1], -1) {
				if app.Command(m[1]) == nil {
					t.Errorf("%s: example of the command %q", filepath.Base(f), m[1])
				}
			}
		}
	}
}
