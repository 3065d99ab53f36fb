package parser

import (
	"encoding/json"
	"unicode"
	"unicode/utf8"
)

// word is logical[start:end] as a Word.
func (n *node) word(start, end int) Word {
	return Word{Text: n.logical[start:end], Pos: n.posAt(start), off: start}
}

// splitKeyword finds the instruction's name and the bounds of what follows.
func (n *node) splitKeyword() (keyword string, start, end int) {
	at, end := trimSpace(n.logical, 0, len(n.logical))
	i := at
	for i < end && !isBlank(n.logical[i]) {
		i++
	}
	return n.logical[at:i], skipBlanks(n.logical, i, end), end
}

func skipBlanks(text string, start, end int) int {
	for start < end && isBlank(text[start]) {
		start++
	}
	return start
}

// splitBlanks cuts logical[start:end] at blanks; quotes mean nothing (FROM, COPY, EXPOSE and others).
func (n *node) splitBlanks(start, end int) []Word {
	var words []Word
	for start < end {
		i := start
		for i < end && !isBlank(n.logical[i]) {
			i++
		}
		words = append(words, n.word(start, i))
		start = skipBlanks(n.logical, i, end)
	}
	return words
}

// splitQuoted cuts logical[start:end] at white space outside quotes (ENV, LABEL, ARG). Quotes and escapes stay in the
// words; an escape character with nothing after it is dropped.
func (n *node) splitQuoted(start, end int) []Word {
	var words []Word
	for start = skipSpace(n.logical, start, end); start < end; start = skipSpace(n.logical, start, end) {
		stop, next := n.quotedWord(start, end)
		if stop > start {
			words = append(words, n.word(start, stop))
		}
		start = next
	}
	return words
}

// quotedWord gives the end of the word at start, and where to go on.
func (n *node) quotedWord(start, end int) (stop, next int) {
	text, quote := n.logical, rune(0)
	for i := start; i < end; {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:end])
		}
		switch {
		case quote == 0 && unicode.IsSpace(r):
			return i, i
		case r == n.escape && quote != '\'':
			if i+1 == end {
				return i, end
			}
			_, after := utf8.DecodeRuneInString(text[i+1 : end])
			size += after
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote != 0 && r == quote:
			quote = 0
		}
		i += size
	}
	return end, end
}

// jsonWords reads logical[start:end] as a JSON array of strings. ok is false if it is no JSON array, which makes it a
// shell form; bad is true if it is an array with something else than strings in it.
func (n *node) jsonWords(start, end int) (words []string, ok, bad bool) {
	start = skipSpace(n.logical, start, end)
	if start == end || n.logical[start] != '[' {
		return nil, false, false
	}
	var list []any
	if json.Unmarshal([]byte(n.logical[start:end]), &list) != nil {
		return nil, false, false
	}
	words = make([]string, len(list))
	for i, v := range list {
		s, isString := v.(string)
		if !isString {
			return nil, false, true
		}
		words[i] = s
	}
	return words, true, false
}

// jsonAt gives the places of the elements of the JSON array in logical[start:end], which is known to be a valid one of
// strings.
func (n *node) jsonAt(start, end int) []int {
	var at []int
	for i := start; i < end; i++ {
		if n.logical[i] != '"' {
			continue
		}
		at = append(at, i)
		for i++; i < end && n.logical[i] != '"'; i++ {
			if n.logical[i] == '\\' {
				i++
			}
		}
	}
	return at
}

// list reads the arguments of COPY, ADD and VOLUME: a JSON array or words.
func (b *builder) list(start, end int) (words []Word, isJSON, ok bool) {
	texts, isJSON, bad := b.n.jsonWords(start, end)
	if bad {
		b.fail(start, "the JSON array holds something else than strings", "")
		return nil, false, false
	}
	if !isJSON {
		return b.n.splitBlanks(start, end), false, true
	}
	at := b.n.jsonAt(start, end)
	for i, t := range texts {
		words = append(words, Word{Text: t, Pos: b.n.posAt(at[i]), off: -1})
	}
	return words, true, true
}
