package build

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// findParents is find for --parents: what matches is copied with the
// directories above it, all of them or those after the pivot "/./". Here
// wildcards may be "**", as in ignore files, and --exclude tells paths from
// the pivot on.
func (s *source) findParents(ctx context.Context, arg string, exclude filter) ([]match, error) {
	pivot, pattern, ok := strings.Cut(arg, "/./")
	if !ok {
		pivot, pattern = "", arg
	}
	pattern = cleanSource(pattern)
	return s.gather(arg, pivot, func(*SourceError) bool { return wild(arg) }, func(dir string) (*match, error) {
		return s.belowPivot(ctx, dir, pattern, exclude)
	})
}

// belowPivot lists what matches pattern below the directory pivot.
func (s *source) belowPivot(ctx context.Context, pivot, pattern string, exclude filter) (*match, error) {
	fixed, rest := splitWild(pattern)
	m, err := s.listAs(ctx, path.Join(pivot, fixed), fixed, exclude)
	if m == nil || err != nil {
		return nil, err
	}
	if rest != "" {
		if m.items, err = included(m.items, pattern); err != nil || len(m.items) == 0 {
			return nil, err
		}
	}
	above, err := s.above(pivot, fixed)
	m.items = append(above, m.items...)
	return m, err
}

// splitWild divides a pattern before its first component with a wildcard.
func splitWild(pattern string) (fixed, rest string) {
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		if wild(p) {
			return path.Join(parts[:i]...), path.Join(parts[i:]...)
		}
	}
	return pattern, ""
}

// included keeps the items that pattern matches, by their own path or a
// parent's, and the directories above them.
func included(items []item, pattern string) ([]item, error) {
	pm, err := newMatcher([]string{pattern})
	if err != nil {
		return nil, err
	}
	keep, needed := make([]bool, len(items)), map[string]bool{}
	n := 0
	for i := range items {
		it := &items[i]
		if it.rel == "" {
			continue
		}
		if keep[i], err = pm.MatchesOrParentMatches(it.rel); err != nil {
			return nil, err
		}
		for dir := path.Dir(it.rel); keep[i] && dir != "." && !needed[dir]; dir = path.Dir(dir) {
			needed[dir] = true
		}
	}
	for i, it := range items {
		if !keep[i] {
			if !needed[it.rel] {
				continue
			}
			it.parent = true
		}
		items[n] = it
		n++
	}
	return items[:n], nil
}

// above lists the directories between pivot and the last component of rel.
func (s *source) above(pivot, rel string) ([]item, error) {
	var out []item
	for i, c := range rel {
		if c != '/' {
			continue
		}
		name := path.Join(pivot, rel[:i])
		p, err := s.root.Resolve(name, true, nil)
		if err != nil {
			return nil, err
		}
		it := item{src: p.Path, rel: rel[:i], parent: true}
		it.st, err = p.Stat()
		p.Close()
		if err != nil {
			return nil, fmt.Errorf("stat %q: %w", name, err)
		}
		out = append(out, it)
	}
	return out, nil
}
