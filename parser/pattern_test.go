package parser

import (
	"strings"
	"testing"
	"time"
)

// slowMatch is what pattern.match does, by trying everything.
func slowMatch(p pattern, s string, longest bool) int {
	best := -1
	for n := 0; n <= len(s); n++ {
		if slowAll(p, s[:n]) {
			if best = n; !longest {
				return best
			}
		}
	}
	return best
}

func slowAll(p pattern, s string) bool {
	switch {
	case len(p) == 0:
		return s == ""
	case p[0].kind == '*':
		return slowAll(p[1:], s) || s != "" && slowAll(p, s[1:])
	}
	return s != "" && p[0].takes(rune(s[0])) && slowAll(p[1:], s[1:])
}

// TestPatternMatch tries all short patterns on all short texts.
func TestPatternMatch(t *testing.T) {
	for _, pat := range sentences("ab*?", 4) {
		p, bad := compilePattern(pat, '\\')
		if bad != "" {
			t.Fatalf("%q: bad escape %q", pat, bad)
		}
		for _, s := range sentences("ab", 5) {
			for _, longest := range []bool{false, true} {
				if got, _ := p.match(s, longest, false); got != slowMatch(p, s, longest) {
					t.Errorf("match %q in %q, longest %v: %d; want %d", pat, s, longest, got, slowMatch(p, s, longest))
				}
			}
			if got, want := p.suffix(s, false), reversed(p, s); got != want {
				t.Errorf("suffix %q of %q: %d; want %d", pat, s, got, want)
			}
			if n, final := p.match(s, true, false); final && (n >= 0 || anywhere(p, s)) {
				t.Errorf("match %q in %q: %d, and counts as final", pat, s, n)
			}
		}
	}
}

func reversed(p pattern, s string) int {
	for n := 0; n <= len(s); n++ {
		if slowAll(p, s[len(s)-n:]) {
			return n
		}
	}
	return 0
}

func anywhere(p pattern, s string) bool {
	for i := range len(s) + 1 {
		if slowMatch(p, s[i:], true) >= 0 {
			return true
		}
	}
	return false
}

// sentences are all strings over letters up to length n.
func sentences(letters string, n int) []string {
	all := []string{""}
	for from := 0; n > 0; n-- {
		to := len(all)
		for _, s := range all[from:to] {
			for _, c := range letters {
				all = append(all, s+string(c))
			}
		}
		from = to
	}
	return all
}

// TestPatternTime: no pattern takes time that grows with the square of the text.
func TestPatternTime(t *testing.T) {
	text := strings.Repeat("a", 200_000)
	for _, pat := range []string{"*b", "a*b", "a?a*b*c", strings.Repeat("*a", 20) + "b", "*"} {
		p, _ := compilePattern(pat, '\\')
		begin := time.Now()
		p.prefix(text, true)
		p.suffix(text, false)
		p.replace(text, "x", true)
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%q takes %v", pat, d)
		}
	}
}
