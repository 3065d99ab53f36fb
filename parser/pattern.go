package parser

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// pattern is a compiled shell pattern of ${name#pattern} and relatives: * and ? only, no brackets.
type pattern []glyph

// glyph is one element: a literal rune, ? or *.
type glyph struct {
	kind byte // 0 literal, '?', '*'
	r    rune
}

// compilePattern reads text. An escape can stand before * ? / } and itself; bad is another one that was found.
func compilePattern(text string, escape rune) (p pattern, bad string) {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		g := glyph{r: r}
		switch {
		case r == '*' || r == '?':
			g.kind = byte(r)
		case r == escape:
			var m int
			g.r, m = utf8.DecodeRuneInString(text[i+n:])
			if m == 0 || !strings.ContainsRune("*?/}", g.r) && g.r != escape {
				return nil, text[i : i+n+m]
			}
			n += m
		}
		p = append(p, g)
		i += n
	}
	return p, ""
}

// prefix gives the length of the longest or shortest prefix of s that p matches, 0 if there is none.
func (p pattern) prefix(s string, longest bool) int {
	n, _ := p.match(s, longest, false)
	return max(n, 0)
}

// suffix is prefix for the end of s.
func (p pattern) suffix(s string, longest bool) int {
	back := slices.Clone(p)
	slices.Reverse(back)
	n, _ := back.match(s, longest, true)
	return max(n, 0)
}

func (g glyph) takes(r rune) bool { return g.kind == '?' || g.kind == 0 && g.r == r }

// match gives the length of the longest or shortest prefix of s that p matches, or -1; then final tells that no later
// part of s can match either. Backwards it reads s from its end, for a pattern that is reversed. It follows all ways
// through the pattern at once, so that no pattern is slow.
func (p pattern) match(s string, longest, backwards bool) (best int, final bool) {
	now, next := make([]bool, len(p)+1), make([]bool, len(p)+1)
	now[0] = true
	p.spread(now)
	best = -1
	for done := 0; ; {
		if now[len(p)] {
			best = done
			if !longest {
				return best, false
			}
		}
		var r rune
		var n int
		if backwards {
			r, n = utf8.DecodeLastRuneInString(s[:len(s)-done])
		} else {
			r, n = utf8.DecodeRuneInString(s[done:])
		}
		if n == 0 {
			return best, best < 0 && p.inStar(now)
		}
		if !p.step(now, next, r) {
			return best, false
		}
		now, next = next, now
		done += n
	}
}

// inStar tells whether a star is reached: the rest of p was then looked for everywhere behind.
func (p pattern) inStar(states []bool) bool {
	for j, g := range p {
		if states[j] && g.kind == '*' {
			return true
		}
	}
	return false
}

// step goes over r from the states in now to those in next, and tells whether there are any.
func (p pattern) step(now, next []bool, r rune) bool {
	alive := false
	clear(next)
	for j, g := range p {
		switch {
		case !now[j]:
		case g.kind == '*':
			next[j], alive = true, true
		case g.takes(r):
			next[j+1], alive = true, true
		}
	}
	p.spread(next)
	return alive
}

// spread lets every star that is reached match nothing.
func (p pattern) spread(states []bool) {
	for j, g := range p {
		if states[j] && g.kind == '*' {
			states[j+1] = true
		}
	}
}

// maxReplaced bounds the length of a replaced value: nested replacements multiply.
const maxReplaced = 1 << 20

// replace puts word in the place of the first, or every, longest match in s. ok is false if the value grows too long.
func (p pattern) replace(s, word string, all bool) (value string, ok bool) {
	var out strings.Builder
	afterMatch := false
	for i := 0; i <= len(s) && out.Len() <= maxReplaced; {
		n, final := p.match(s[i:], true, false)
		if final {
			out.WriteString(s[i:])
			break
		}
		if n > 0 || n == 0 && !afterMatch {
			out.WriteString(word)
			i += n
			if !all {
				out.WriteString(s[i:])
				break
			}
		}
		if afterMatch = n > 0; afterMatch {
			continue
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		if size == 0 {
			break
		}
		out.WriteString(s[i : i+size])
		i += size
	}
	return out.String(), out.Len() <= maxReplaced
}
