package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every command has examples, its manual page has the same, and each means
// something: it gets beyond the check of its words.
func TestManualExamples(t *testing.T) {
	app := newApp(newFixture(t, nil).env)
	pages := map[string]string{"": "virga.1"}
	for _, c := range app.Commands {
		pages[c.Name] = "virga-" + c.Name + ".1"
	}
	for name, page := range pages {
		list := examples(name)
		if len(list) == 0 {
			t.Errorf("%q has no examples", name)
		}
		b, err := os.ReadFile(filepath.Join(manualDir, page))
		if err != nil {
			t.Fatal(err)
		}
		block := regexp.MustCompile(`(?s)\.SH EXAMPLES\n\.PP\n\.nf\n\.RS\n(.*?)\.RE`).FindStringSubmatch(plainRoff(string(b)))
		if block == nil || block[1] != strings.Join(list, "\n")+"\n" {
			t.Errorf("%s: its examples are not\n%s", page, strings.Join(list, "\n"))
		}
		for _, line := range list {
			checkExample(t, name, line)
		}
	}
}

// checkExample runs the words of a line with a context that has ended, so that
// nothing is done but looking at them.
func checkExample(t *testing.T, command, line string) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	of := ""
	for _, args := range shellCommands(line) {
		if args[0] != "virga" {
			continue
		}
		f := newFixture(t, map[string]string{"USER": "u", "VIRGA_STORAGE": filepath.Join(t.TempDir(), "storage")})
		// run --state is another process, to which signals, not ctx, are passed.
		if !slices.Contains(args, "--state") && run(ended, f.env, args) == exitUsage {
			t.Errorf("%s\n%s", line, &f.stderr)
		}
		in, err := normalize(newApp(f.env), args)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		of = in.command.Name
	}
	if of == "" || command != "" && of != command && command != "undelete" {
		t.Errorf("%q is an example of %q, want %q", line, of, command)
	}
}

// shellCommands are the commands of a line for a shell, in words. It knows of
// the shell what examples need.
func shellCommands(line string) [][]string {
	line, _, _ = strings.Cut(line, " # ")
	var out [][]string
	args := []string{}
	for _, w := range regexp.MustCompile(`'[^']*'|"(\$\(|\$\)|[^"])*"|\$?\(|\)|[^\s()]+`).FindAllString(strings.ReplaceAll(line, `"$(`, "$("), -1) {
		switch w {
		case "|", "||", "&&", "$(", "(", ")", "<":
			out, args = append(out, args), []string{}
		default:
			args = append(args, strings.Trim(w, `'"`))
		}
	}
	out = append(out, args)
	return slices.DeleteFunc(out, func(a []string) bool { return len(a) == 0 })
}
