package parser

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// expander reads one text and substitutes variables, as BuildKit's shell lexer does.
type expander struct {
	text   string
	pos    int
	escape rune
	lookup Lookup

	keepQuotes bool // quotes stay in the result
	keepUnset  bool // references to unset variables stay in the result
	noQuotes   bool // quotes are ordinary characters

	quiet int // > 0 inside a word that is not taken: nothing in it is reported
	depth int
	unset []string
}

// expandError is an error at an offset of the expanded text.
type expandError struct {
	off       int
	msg, hint string
}

const maxDepth = 200

func (e *expander) fail(off int, format string, args ...any) *expandError {
	return &expandError{off: off, msg: fmt.Sprintf(format, args...)}
}

// peek gives the next rune and its length, 0 at the end.
func (e *expander) peek() (rune, int) {
	if e.pos >= len(e.text) {
		return 0, 0
	}
	if c := e.text[e.pos]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	return utf8.DecodeRuneInString(e.text[e.pos:])
}

// take consumes n bytes and returns them.
func (e *expander) take(n int) string {
	s := e.text[e.pos : e.pos+n]
	e.pos += n
	return s
}

// mode says how a part of the text is read.
type mode struct {
	stop    rune // the part ends before this character, which is consumed; 0: at the end of the text
	escapes bool // keep escape characters
	pattern bool // double the escape characters inside quotes: the result is read as a pattern
}

// run reads up to m.stop. With w, the result is split there too.
func (e *expander) run(m mode, w *splitter) (string, *expandError) {
	start := e.pos
	if e.depth++; e.depth > maxDepth {
		return "", e.fail(start, "substitutions are nested too deeply")
	}
	defer func() { e.depth-- }()
	var out strings.Builder
	for {
		r, n := e.peek()
		if n == 0 {
			break
		}
		if m.stop != 0 && r == m.stop {
			e.pos += n
			return out.String(), nil
		}
		at := e.pos
		part, split, err := e.part(r, n, m)
		if err != nil {
			return "", err
		}
		out.WriteString(part)
		if w != nil {
			w.add(part, split, at)
		}
	}
	if m.stop != 0 {
		return "", e.fail(start, "%q is missing", m.stop)
	}
	return out.String(), nil
}

// part reads the next character and all that belongs to it. split tells whether blanks in it separate words.
func (e *expander) part(r rune, n int, m mode) (part string, split bool, err *expandError) {
	switch {
	case r == '$':
		part, err = e.dollar()
		return part, true, err
	case r == '\'' && !e.noQuotes:
		part, err = e.singleQuoted(m)
		return part, false, err
	case r == '"' && !e.noQuotes:
		part, err = e.doubleQuoted(m)
		return part, false, err
	case r == '<':
		return e.less(), false, nil
	case r == e.escape:
		esc := e.take(n)
		if !m.escapes {
			esc = ""
		}
		_, n = e.peek()
		return esc + e.take(n), false, nil
	}
	return e.take(n), true, nil
}

// less keeps "<<" and the blanks after it together, so that a heredoc's word is not split from it.
func (e *expander) less() string {
	start := e.pos
	e.pos++
	if r, _ := e.peek(); r == '<' {
		e.pos++
		for r, _ := e.peek(); r == ' ' || r == '\t' || r == '\r'; r, _ = e.peek() {
			e.pos++
		}
	}
	return e.text[start:e.pos]
}

// singleQuoted reads '...', in which nothing is special.
func (e *expander) singleQuoted(m mode) (string, *expandError) {
	start := e.pos
	i := strings.IndexByte(e.text[start+1:], '\'')
	if i < 0 {
		return "", e.fail(start, "the quote ' is not closed")
	}
	quoted := e.take(i + 2)
	inner := quoted[1 : len(quoted)-1]
	if m.pattern {
		esc := string(e.escape)
		inner = strings.ReplaceAll(inner, esc, esc+esc)
	}
	if e.keepQuotes {
		return "'" + inner + "'", nil
	}
	return inner, nil
}

// doubleQuoted reads "...", in which $ is special, and the escape before ", $ and itself.
func (e *expander) doubleQuoted(m mode) (string, *expandError) {
	start := e.pos
	e.pos++
	var out strings.Builder
	if e.keepQuotes {
		out.WriteByte('"')
	}
	for {
		r, n := e.peek()
		switch {
		case n == 0:
			return "", e.fail(start, "the quote \" is not closed")
		case r == '"':
			e.pos++
			if e.keepQuotes {
				out.WriteByte('"')
			}
			return out.String(), nil
		case r == '$':
			value, err := e.dollar()
			if err != nil {
				return "", err
			}
			out.WriteString(value)
		case r == e.escape:
			e.quotedEscape(&out, n, m)
		default:
			out.WriteString(e.take(n))
		}
	}
}

func (e *expander) quotedEscape(out *strings.Builder, n int, m mode) {
	esc := e.take(n)
	switch r, n := e.peek(); {
	case n == 0:
	case r == '"', r == '$', r == e.escape:
		if m.escapes {
			out.WriteString(esc)
		}
		out.WriteString(e.take(n))
	default:
		if m.pattern || m.escapes && !e.keepQuotes { // so does BuildKit, in replacements too
			out.WriteString(esc)
		}
		out.WriteString(esc)
	}
}

// dollar reads $name or ${...}.
func (e *expander) dollar() (string, *expandError) {
	start := e.pos
	e.pos++
	if r, _ := e.peek(); r == '{' {
		e.pos++
		return e.braces(start)
	}
	name := e.name()
	if name == "" {
		return "$", nil
	}
	value, ok := e.get(name, true)
	if !ok && e.keepUnset {
		return e.text[start:e.pos], nil
	}
	return value, nil
}

// name reads a variable's name: digits, one special character, or letters, digits and underscores.
func (e *expander) name() string {
	start := e.pos
	r, n := e.peek()
	if n == 0 {
		return ""
	}
	digits := unicode.IsDigit(r)
	if !digits && strings.ContainsRune("@*#?-$!", r) {
		return e.take(n)
	}
	for n > 0 && (unicode.IsDigit(r) || !digits && (unicode.IsLetter(r) || r == '_')) {
		e.pos += n
		r, n = e.peek()
	}
	return e.text[start:e.pos]
}

// get looks name up; report tells whether an unset one is worth telling about.
func (e *expander) get(name string, report bool) (string, bool) {
	value, ok := e.lookup(name)
	if ok {
		return value, true
	}
	if report && e.quiet == 0 && !slices.Contains(e.unset, name) {
		e.unset = append(e.unset, name)
	}
	return "", false
}
