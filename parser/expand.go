package parser

import (
	"strings"
	"unicode"
)

func isSpace(r rune) bool { return unicode.IsSpace(r) }

// ExpandText substitutes variables in the body of a heredoc: quotes mean nothing, and the escape is always '\\'.
func ExpandText(text string, lookup Lookup) (value string, unset []string, err error) {
	e := expander{text: text, escape: '\\', lookup: lookup, noQuotes: true}
	value, bad := e.run(mode{}, nil)
	if bad != nil {
		return "", e.unset, bad.alone(text)
	}
	return value, e.unset, nil
}

func expandText(word string, escape rune, lookup Lookup) (string, []string, *expandError) {
	if !strings.ContainsAny(word, "$'\"") && !strings.ContainsRune(word, escape) {
		return word, nil, nil
	}
	e := expander{text: word, escape: escape, lookup: lookup}
	value, err := e.run(mode{}, nil)
	return value, e.unset, err
}

// alone makes an error of a text that belongs to no file.
func (e *expandError) alone(text string) *Error {
	line, off := 1, e.off
	if i := strings.LastIndexByte(text[:off], '\n'); i >= 0 {
		line += strings.Count(text[:i+1], "\n")
		text, off = text[i+1:], off-i-1
	}
	text, _, _ = strings.Cut(text, "\n")
	return &Error{Pos: Pos{line, off + 1}, Msg: e.msg, Hint: e.hint, SourceLine: text}
}
