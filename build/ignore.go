package build

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"virga/internal/inroot"
)

// maxIgnoreFile bounds .dockerignore; real ones are a few kilobytes.
const maxIgnoreFile = 1 << 20

// loadIgnore reads the ignore file that belongs to a Dockerfile inside the
// context: DOCKERFILE.dockerignore if it exists, else .dockerignore at the
// top. A missing file ignores nothing (nil).
func loadIgnore(context *inroot.Root, dockerfile string) (*patternmatcher.PatternMatcher, error) {
	names := []string{".dockerignore"}
	if dockerfile != "" {
		names = []string{dockerfile + ".dockerignore", ".dockerignore"}
	}
	for _, name := range names {
		b, err := context.ReadFile(name, maxIgnoreFile)
		if errors.Is(err, fs.ErrNotExist) || inroot.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read ignore file: %w", err)
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("read ignore file %q: %w", name, err)
		}
		pm, err := newMatcher(patterns)
		if err != nil {
			return nil, fmt.Errorf("ignore file %q: %w", name, err)
		}
		return pm, nil
	}
	return nil, nil
}

func newMatcher(patterns []string) (*patternmatcher.PatternMatcher, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	pm, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	// Patterns compile on first use; do it here, so that a bad one is reported with its file.
	if _, err := pm.MatchesOrParentMatches("x"); err != nil {
		return nil, fmt.Errorf("bad pattern: %w", err)
	}
	return pm, nil
}

// filter answers whether paths are excluded, remembering the parents' results
// as the matcher wants them.
type filter struct {
	pm *patternmatcher.PatternMatcher
}

// excluded matches name, a slash-separated path without leading slash, given
// its parent directory's result. A nil matcher excludes nothing.
func (f filter) excluded(name string, parent patternmatcher.MatchInfo) (bool, patternmatcher.MatchInfo, error) {
	if f.pm == nil || name == "." {
		return false, patternmatcher.MatchInfo{}, nil
	}
	if f.pm.Exclusions() {
		// With exceptions the parents' results do not tell which later rules
		// match them: a rule after an exception would not hold below the
		// directory it names.
		out, err := f.pm.MatchesOrParentMatches(name)
		return out, patternmatcher.MatchInfo{}, err
	}
	return f.pm.MatchesUsingParentResults(name, parent)
}

// under is excluded for a path whose parents were not looked at.
func (f filter) under(name string) (bool, patternmatcher.MatchInfo, error) {
	if name == "" {
		return false, patternmatcher.MatchInfo{}, nil
	}
	parent, err := f.parentInfo(name)
	if err != nil {
		return false, parent, err
	}
	return f.excluded(name, parent)
}

// hides is under for a path that nothing is below.
func (f filter) hides(name string) (bool, error) {
	out, _, err := f.under(name)
	return out, err
}

// prune reports whether an excluded directory need not be entered: nothing
// below it can be included again.
func (f filter) prune() bool { return f.pm != nil && !f.pm.Exclusions() }

// parentInfo computes the result for name's parent directories from the top.
func (f filter) parentInfo(name string) (patternmatcher.MatchInfo, error) {
	var info patternmatcher.MatchInfo
	dir := path.Dir(name)
	if f.pm == nil || dir == "." {
		return info, nil
	}
	info, err := f.parentInfo(dir)
	if err != nil {
		return info, err
	}
	_, info, err = f.pm.MatchesUsingParentResults(dir, info)
	return info, err
}
