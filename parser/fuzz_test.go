package parser

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse: no input panics; errors lie inside the file; the canonical form is stable and means the same.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/Dockerfile")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(src) < 2000 {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Parse("Dockerfile", src)
		if err != nil {
			var list ErrorList
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("error %v is no ErrorList", err)
			}
			inside(t, src, list)
			return
		}
		Check(file, CheckOptions{})
		file.Tree()
		expandAll(t, file)
		stable(t, file, file.String())
	})
}

func inside(t *testing.T, src []byte, list ErrorList) {
	lines := strings.Split(string(src), "\n")
	for i, e := range list {
		if i > 0 && before(e.Pos, list[i-1].Pos) {
			t.Errorf("error %v stands after %v", e, list[i-1])
		}
		if e.Pos.Line < 1 || e.Pos.Line > len(lines) || e.Pos.Column < 1 || e.Pos.Column > len(lines[e.Pos.Line-1])+1 {
			t.Errorf("error %v lies outside the file", e)
		}
		if e.Msg == "" || strings.Count(e.Snippet(), "\n") != 1 {
			t.Errorf("error %v: message %q, snippet %q", e, e.Msg, e.Snippet())
		}
	}
}

// expandAll expands every instruction; errors must be positioned ones.
func expandAll(t *testing.T, f *File) {
	lookup := func(name string) (string, bool) { return "v" + name, len(name)%2 == 1 }
	for _, s := range f.Stages {
		for _, in := range append([]Instruction{s.From}, s.Instructions...) {
			before := in.String()
			out, _, err := in.Expand(lookup)
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Pos.Line < in.Pos().Line || e.Pos.Line > in.EndLine()) {
				t.Errorf("expand %q: error %v", before, err)
			}
			if err == nil && out.Keyword() != in.Keyword() {
				t.Errorf("expand %q: %T", before, out)
			}
			if in.String() != before {
				t.Errorf("expand changed %q to %q", before, in.String())
			}
		}
	}
}

// FuzzExpand: no input panics; text without special characters is its own value; an error's place is inside the text;
// nothing is reported unset that is not in the text.
func FuzzExpand(f *testing.F) {
	for _, c := range expandCases {
		f.Add(c.in, false)
	}
	f.Fuzz(func(t *testing.T, text string, backtick bool) {
		escape := '\\'
		if backtick {
			escape = '`'
		}
		value, unset, err := expand(text, escape)
		var e *Error
		switch {
		case err == nil:
		case !errors.As(err, &e):
			t.Fatalf("error %v is no *Error", err)
		case e.Pos.Line < 1 || e.Pos.Column < 1 || e.Pos.Column > len(text)+1:
			t.Errorf("error %v lies outside %q", e, text)
		}
		if !strings.ContainsAny(text, "$'\"\\`") && (value != text || err != nil) {
			t.Errorf("expand(%q) = %q, %v", text, value, err)
		}
		for _, name := range unset {
			if !strings.Contains(text, name) {
				t.Errorf("expand(%q) reports %q", text, name)
			}
		}
		words, errWords := expandWords(text, escape)
		if (errWords == nil) != (err == nil) {
			t.Errorf("expand(%q): %v; expandWords: %v", text, err, errWords)
		}
		for _, w := range words {
			if w == "" {
				t.Errorf("expandWords(%q) = %q", text, words)
			}
		}
		if _, _, err := ExpandText(text, testLookup); err != nil && !errors.As(err, &e) {
			t.Fatalf("error %v is no *Error", err)
		}
	})
}
