package main

import (
	"os"
	"strings"
	"testing"
)

// Each command and option that scripts may rely on is there and in --help.
// Signatures and attestations have tests of their own.
func TestReferenceTable(t *testing.T) {
	b, err := os.ReadFile("testdata/reference")
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(newFixture(t, nil).env)
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		flags, help := app.Flags, []string{"--help"}
		if words[0] != "-" {
			c := app.Command(words[0])
			if c == nil {
				t.Errorf("no command %s", words[0])
				continue
			}
			flags, help = c.Flags, []string{words[0], "--help"}
		}
		f := newFixture(t, nil)
		if code := f.run(t, help...); code != 0 {
			t.Errorf("%v: status %d", help, code)
		}
		table := newOptionTable(flags)
		for _, o := range words[1:] {
			if _, ok := table[strings.TrimLeft(o, "-")]; !ok {
				t.Errorf("%s has no option %s", words[0], o)
			}
			if !strings.Contains(f.out.String(), " "+o) {
				t.Errorf("%s --help does not show %s", words[0], o)
			}
		}
	}
}
