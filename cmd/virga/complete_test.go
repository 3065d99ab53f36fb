package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fits is what completes words: the kind of files, and the words.
func (f *fixture) fits(t *testing.T, words ...string) (kind string, found []string) {
	t.Helper()
	if code := f.run(t, append([]string{completeCommand}, words...)...); code != 0 || f.stderr.Len() > 0 {
		t.Fatalf("%q: status %d, %s", words, code, f.stderr.String())
	}
	lines := strings.Split(strings.TrimSuffix(f.out.String(), "\n"), "\n")
	for _, l := range lines[1:] {
		word, _, ok := strings.Cut(l, "\t")
		if !ok {
			t.Errorf("%q: no tab in %q", words, l)
		}
		found = append(found, word)
	}
	return lines[0], found
}

// Every option of every command is completed, and the place after it says
// what its value is, or that nothing is known.
func TestCompleteEveryOption(t *testing.T) {
	f := newFixture(t, nil)
	app := newApp(f.env)
	for _, c := range app.Commands {
		_, found := f.fits(t, c.Name, "-")
		all := " " + strings.Join(found, " ") + " "
		for _, flag := range append(c.Flags, app.Flags...) {
			for _, name := range flag.Names() {
				if dashed := " -" + strings.Repeat("-", min(1, len(name)-1)) + name + " "; !strings.Contains(all, dashed) {
					t.Errorf("%s: no %s", c.Name, dashed)
				}
			}
			f.fits(t, c.Name, "--"+flag.Names()[0], "")
			_, values := f.fits(t, c.Name, "--"+flag.Names()[0]+"=")
			if want := flagValues(flag); len(want) > 0 && len(values) != len(want) {
				t.Errorf("%s --%s=: %q, want %q", c.Name, flag.Names()[0], values, want)
			}
		}
	}
}

// What a Dockerfile says is not printed as it is.
func TestCompleteHostileDockerfile(t *testing.T) {
	f := newFixture(t, nil)
	if err := os.WriteFile(filepath.Join(f.env.dir, "Dockerfile"), []byte("FROM a\x1b[2Jb AS s\nFROM x AS t\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, found := f.fits(t, "build", "--target", ""); len(found) != 2 || strings.Contains(f.out.String(), "\x1b") {
		t.Errorf("got %q", f.out.String())
	}
}
