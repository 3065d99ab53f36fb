package parser

import "unicode/utf8"

// braces reads the rest of ${name}, ${name:-word} and the like; start is where the $ stands.
func (e *expander) braces(start int) (string, *expandError) {
	name := e.name()
	r, n := e.peek()
	switch {
	case n == 0:
		return "", e.unclosed(start)
	case name == "":
		return "", e.fail(start, "${ is not followed by a name")
	}
	e.pos += n
	switch r {
	case '}':
		value, ok := e.get(name, true)
		if !ok && e.keepUnset {
			return e.text[start:e.pos], nil
		}
		return value, nil
	case ':':
		op, n := e.peek()
		switch op {
		case '-', '+', '?':
			e.pos += n
			return e.choice(start, name, op, true)
		}
		if n == 0 {
			return "", e.unclosed(start)
		}
		return "", e.badOperator(start, ":"+string(op))
	case '-', '+', '?':
		return e.choice(start, name, r, false)
	case '#', '%':
		return e.trim(start, name, r)
	case '/':
		return e.replace(start, name)
	}
	return "", e.badOperator(start, string(r))
}

func (e *expander) unclosed(start int) *expandError {
	return e.fail(start, "the } of ${ is missing")
}

func (e *expander) badOperator(start int, op string) *expandError {
	err := e.fail(start, "%q is not an operator of ${name...}", op)
	err.hint = "there are :- - :+ + :? ? # ## % %% / //"
	return err
}

// operand reads an operator's word; taken tells whether it will be used.
func (e *expander) operand(start int, m mode, taken bool) (string, *expandError) {
	if !taken {
		e.quiet++
		defer func() { e.quiet-- }()
	}
	word, err := e.run(m, nil)
	if err != nil && e.pos >= len(e.text) && m.stop == '}' {
		return "", e.unclosed(start)
	}
	return word, err
}

// choice is ${name-word}, ${name+word}, ${name?word}; with colon, empty counts as unset.
func (e *expander) choice(start int, name string, op rune, colon bool) (string, *expandError) {
	value, set := e.get(name, false)
	has := set && !(colon && value == "")
	word, err := e.operand(start, mode{stop: '}'}, has == (op == '+'))
	switch {
	case err != nil:
		return "", err
	case e.keepUnset && !set:
		return e.text[start:e.pos], nil
	case op == '+' && has, op == '-' && !has:
		return word, nil
	case has:
		return value, nil
	case op == '+' || e.quiet > 0:
		return "", nil
	}
	what := "set"
	if set {
		what = "set to anything"
	}
	if word == "" {
		return "", e.fail(start, "the variable %s is not %s", name, what)
	}
	return "", e.fail(start, "the variable %s is not %s: %s", name, what, word)
}

// trim is ${name#pattern} and ${name%pattern}; the operator doubled cuts the longest match.
func (e *expander) trim(start int, name string, op rune) (string, *expandError) {
	r, _ := e.peek()
	longest := r == op
	if longest {
		e.pos++
	}
	at := e.pos
	word, err := e.operand(start, mode{stop: '}', escapes: true, pattern: true}, true)
	if err != nil {
		return "", err
	}
	value, set := e.get(name, true)
	if e.keepUnset && !set {
		return e.text[start:e.pos], nil
	}
	p, err := e.pattern(word, at)
	if err != nil {
		return "", err
	}
	if op == '#' {
		return value[p.prefix(value, longest):], nil
	}
	return value[:len(value)-p.suffix(value, longest)], nil
}

// replace is ${name/pattern/word} and ${name//pattern/word}. Escape characters stay in the word, as in BuildKit.
func (e *expander) replace(start int, name string) (string, *expandError) {
	r, _ := e.peek()
	all := r == '/'
	if all {
		e.pos++
	}
	at := e.pos
	text, err := e.operand(start, mode{stop: '/', escapes: true, pattern: true}, true)
	if err != nil {
		if e.pos >= len(e.text) {
			return "", e.fail(start, "the second / of ${%s/pattern/word} is missing", name)
		}
		return "", err
	}
	word, err := e.operand(start, mode{stop: '}', escapes: true}, true)
	if err != nil {
		return "", err
	}
	value, set := e.get(name, true)
	if e.keepUnset && !set {
		return e.text[start:e.pos], nil
	}
	p, err := e.pattern(text, at)
	if err != nil {
		return "", err
	}
	replaced, ok := p.replace(value, word, all)
	if !ok {
		return "", e.fail(start, "the value grows beyond %d bytes", maxReplaced)
	}
	return replaced, nil
}

// maxPattern bounds the length of a pattern; matching takes its length times that of the value.
const maxPattern = 4096

func (e *expander) pattern(text string, at int) (pattern, *expandError) {
	if len(text) > maxPattern {
		return nil, e.fail(at, "the pattern is longer than %d bytes", maxPattern)
	}
	p, bad := compilePattern(text, e.escape)
	if bad == "" {
		return p, nil
	}
	err := e.fail(at, "the pattern %q holds the escape %q", shorten(text), bad)
	err.hint = "only * ? / } and the escape character can be escaped"
	return nil, err
}

// splitter collects words from parts.
type splitter struct {
	words  []string
	starts []int // where each word begins in the text
	ends   []int
	word   []byte
	inWord bool
}

// add appends what was read at offset at. If split, blanks in it end words.
func (w *splitter) add(part string, split bool, at int) {
	if !split {
		if !w.inWord {
			w.inWord = true
			w.starts = append(w.starts, at)
		}
		w.word = append(w.word, part...)
		return
	}
	for i := 0; i < len(part); {
		r, n := utf8.DecodeRuneInString(part[i:])
		if isSpace(r) {
			w.flush(at)
		} else {
			if !w.inWord {
				w.inWord = true
				w.starts = append(w.starts, at)
			}
			w.word = append(w.word, part[i:i+n]...)
		}
		i += n
	}
}

// flush ends a word before offset at. Empty words, as from "", are dropped: Docker does so.
func (w *splitter) flush(at int) {
	switch {
	case !w.inWord:
	case len(w.word) == 0:
		w.starts = w.starts[:len(w.starts)-1]
	default:
		w.words = append(w.words, string(w.word))
		w.ends = append(w.ends, at)
	}
	w.word, w.inWord = w.word[:0], false
}
