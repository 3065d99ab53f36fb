package parser

import (
	"strings"
	"unicode"
)

func isSpace(r rune) bool { return unicode.IsSpace(r) }

// Expand substitutes variables in one word and removes quotes and escapes. The names in unset were asked for plainly
// and are not set; they count as empty. An error is an *[Error] whose Pos.Column is the place in word.
func Expand(word string, escape rune, lookup Lookup) (value string, unset []string, err error) {
	value, unset, bad := expandText(word, escape, lookup)
	if bad != nil {
		return "", unset, bad.alone(word)
	}
	return value, unset, nil
}

// ExpandWords is Expand that then splits at unquoted white space, also that which came from variables.
func ExpandWords(word string, escape rune, lookup Lookup) (words []string, unset []string, err error) {
	e := expander{text: word, escape: escape, lookup: lookup}
	var w splitter
	if _, bad := e.run(mode{}, &w); bad != nil {
		return nil, e.unset, bad.alone(word)
	}
	w.flush(len(word))
	return w.words, e.unset, nil
}

// ExpandText substitutes variables in the body of a heredoc: quotes mean nothing, and the escape is always '\\'.
func ExpandText(text string, lookup Lookup) (value string, unset []string, err error) {
	e := expander{text: text, escape: '\\', lookup: lookup, noQuotes: true}
	value, bad := e.run(mode{}, nil)
	if bad != nil {
		return "", e.unset, bad.alone(text)
	}
	return value, e.unset, nil
}

// ExpandDisplay substitutes the variables that are set, and keeps all else as written, for showing a command to people.
// If word cannot be read, it is returned unchanged.
func ExpandDisplay(word string, escape rune, lookup Lookup) string {
	e := expander{text: word, escape: escape, lookup: lookup, keepQuotes: true, keepUnset: true}
	value, bad := e.run(mode{escapes: true}, nil)
	if bad != nil {
		return word
	}
	return value
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
