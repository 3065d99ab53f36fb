package build

import (
	"bytes"
	"path"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// excludedPath asks as the walk does: from the top down, each directory's
// result handed to its children.
func excludedPath(t *testing.T, f filter, name string) bool {
	t.Helper()
	info, err := f.parentInfo(name)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := f.excluded(name, info)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func matcher(t *testing.T, text string) *patternmatcher.PatternMatcher {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	pm, err := newMatcher(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return pm
}

func TestIgnore(t *testing.T) {
	for _, tt := range []struct {
		file, path string
		want       bool
	}{
		{"", "a", false}, {"# c\n\n", "a", false}, {"a", "a", true}, {"a", "a/b", true}, {"a", "b/a", false}, {"**/a", "b/a", true},
		{"/a", "a", true}, {"*/x", "d/x", true}, {"*/x", "d/e/x", false}, {"a\n!a/k", "a/k", false}, {"a\n!a/k", "a/j", true},
		{"!a\na", "a", true}, {"*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true}, {"**\n!src/**", "src/x", false},
		{"dir/", "dir/x", true}, {"a?c", "abc", true}, {"[ab]", "b", true}, {".", "x", false},
	} {
		if got := excludedPath(t, filter{matcher(t, tt.file)}, tt.path); got != tt.want {
			t.Errorf("ignore file %q excludes %q: %v, want %v", tt.file, tt.path, got, tt.want)
		}
	}
}

func TestIgnoreFileName(t *testing.T) {
	dir := t.TempDir()
	mktree(t, dir, "f 644 .dockerignore general", "f 644 sub/My.dockerignore special", "f 644 bad/.dockerignore [")
	for dockerfile, want := range map[string]string{"": "general", "sub/My": "special", "other": "general"} {
		pm, err := loadIgnore(openRoot(t, dir), dockerfile)
		if err != nil {
			t.Fatal(err)
		}
		if !excludedPath(t, filter{pm}, want) {
			t.Errorf("Dockerfile %q: the ignore file that says %q is not used", dockerfile, want)
		}
	}
	if _, err := loadIgnore(openRoot(t, dir+"/bad"), ""); err == nil || !strings.Contains(err.Error(), ".dockerignore") {
		t.Errorf("a bad pattern gives %v, want an error that names the file", err)
	}
}

// No ignore file makes the matcher panic, and where a directory may be left
// out as a whole, nothing below it is included.
func FuzzIgnore(f *testing.F) {
	for _, s := range []string{"a", "a\n!a/b", "**/*.o", "!\n", "[a-\n", "a/../b\n/..", "\\", "*\n!x\nx/y"} {
		f.Add(s, "a/b/c")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		name = path.Clean("/" + name)[1:]
		if name == "" || strings.Contains(name, "\x00") {
			return
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader([]byte(text)))
		if err != nil {
			return
		}
		pm, err := newMatcher(patterns)
		if err != nil {
			return
		}
		fl := filter{pm}
		dir, info, err := fl.excluded(name, patternmatcher.MatchInfo{})
		if err != nil || !dir || !fl.prune() {
			return
		}
		if below, _, err := fl.excluded(name+"/x", info); err == nil && !below {
			t.Errorf("ignore file %q excludes %q for good, but not %q", text, name, name+"/x")
		}
	})
}
