package parser

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*/want")

// TestGolden shows every Dockerfile below testdata as a tree, in canonical form and with its warnings, or with its errors.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/Dockerfile")
	if err != nil || len(files) < 150 {
		t.Fatalf("%d cases, error %v; want 150 at least", len(files), err)
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := golden(t, src)
			want := filepath.Join(dir, "want")
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(b) {
				t.Errorf("got:\n%s\nwant:\n%s", got, b)
			}
		})
	}
}

func golden(t *testing.T, src []byte) string {
	var b strings.Builder
	f, err := Parse("Dockerfile", src)
	var list ErrorList
	if errors.As(err, &list) {
		for _, e := range list {
			fmt.Fprintf(&b, "%v\n%s\n", e, e.Snippet())
			if e.Hint != "" {
				fmt.Fprintf(&b, "hint: %s\n", e.Hint)
			}
		}
		return b.String()
	}
	if err != nil {
		t.Fatalf("an error that is no ErrorList: %v", err)
	}
	text := f.String()
	stable(t, f, text)
	fmt.Fprintf(&b, "%s---\n%s---\n", f.Tree(), text)
	warnings, fail := Check(f, CheckOptions{})
	for _, w := range warnings {
		fmt.Fprintf(&b, "%d:%d: %s: %s", w.Pos.Line, w.Pos.Column, w.Rule, w.Msg)
		if w.Hint != "" {
			fmt.Fprintf(&b, " (%s)", w.Hint)
		}
		b.WriteByte('\n')
	}
	if fail {
		b.WriteString("warnings are errors\n")
	}
	return b.String()
}

// stable checks that text, the canonical form of f, gives the same tree again.
func stable(t *testing.T, f *File, text string) {
	t.Helper()
	g, err := Parse("Dockerfile", []byte(text))
	if err != nil {
		t.Fatalf("the canonical form is wrong: %v\n%q", err, text)
	}
	if again := g.String(); again != text {
		t.Errorf("the canonical form is not stable:\n%q\nthen\n%q", text, again)
	}
	a, errA := f.object(false).MarshalJSON()
	b, errB := g.object(false).MarshalJSON()
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("the canonical form means something else (%v, %v):\n%s\nthen\n%s\ntext %q", errA, errB, a, b, text)
	}
}
