package parser

import (
	"bytes"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads a Dockerfile. The name is used in messages only. An error is an [ErrorList] with all errors found, in
// order of position; the tree is then nil.
func Parse(name string, src []byte) (*File, error) {
	src = bytes.TrimPrefix(src, []byte("\uFEFF")) // a byte-order mark
	p := newParser(newSource(name, string(src)), '\\')
	if i := bytes.IndexByte(src, 0); i >= 0 {
		p.fail(i, "the file holds a NUL byte, so it is not a Dockerfile", nulHint(src))
		return nil, p.errs
	}
	f := p.file()
	if len(p.errs) > 0 {
		sort.SliceStable(p.errs, func(i, j int) bool { return before(p.errs[i].Pos, p.errs[j].Pos) })
		return nil, p.errs
	}
	return f, nil
}

// ParseInstruction reads one instruction, such as a trigger stored in an image configuration (whose escape is '\\').
// Parser directives are not looked for. An error is an [ErrorList].
func ParseInstruction(name, text string, escape rune) (Instruction, error) {
	p := newParser(newSource(name, text), byte(escape))
	p.directivesDone = true
	if i := strings.IndexByte(text, 0); i >= 0 {
		p.fail(i, "the instruction holds a NUL byte", "")
		return nil, p.errs
	}
	var in Instruction
	for n, ok := p.next(); ok; n, ok = p.next() {
		if in != nil {
			p.fail(n.start, "one instruction expected, and here is another", "")
			break
		}
		in = p.instruction(n)
		if in == nil {
			break
		}
	}
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	if in == nil {
		p.fail(0, "no instruction found", "")
		return nil, p.errs
	}
	return in, nil
}

// parser is the state of one run.
type parser struct {
	src    *source
	text   string
	off    int  // of the next line not yet read
	escape byte // escape and continuation character

	directives     Directives
	directivesDone bool
	afterShebang   bool     // Docker then reads the directives, but not escape
	comments       []string // of the comment lines just read
	emptyAt        []Pos
	errs           ErrorList
}

func newParser(src *source, escape byte) *parser {
	return &parser{src: src, text: src.text, escape: escape}
}

func (p *parser) fail(off int, msg, hint string) {
	p.errs = append(p.errs, p.src.errorAt(p.src.pos(off), Malformed, msg, hint))
}

// file reads all instructions and hangs them into stages.
func (p *parser) file() *File {
	f := &File{Name: p.src.name, src: p.src}
	var stage *Stage
	seen, orphaned := false, false
	for n, ok := p.next(); ok; n, ok = p.next() {
		seen = true
		in := p.instruction(n)
		if n.keyword == "FROM" { // even a wrong one begins a stage
			stage = &Stage{}
			stage.From, _ = in.(*From)
			f.Stages = append(f.Stages, stage)
			continue
		}
		switch arg, isArg := in.(*Arg); {
		case in == nil:
		case stage != nil:
			stage.Instructions = append(stage.Instructions, in)
		case isArg:
			f.MetaArgs = append(f.MetaArgs, arg)
		case !orphaned:
			orphaned = true
			p.fail(n.start, n.keyword+" comes before the first FROM", "only ARG and comments may")
		}
	}
	switch {
	case len(p.errs) > 0:
	case !seen:
		p.fail(0, "the file holds no instructions", "a Dockerfile begins with FROM")
	case stage == nil:
		p.fail(f.MetaArgs[0].start, "the file holds no FROM", "a Dockerfile needs at least one stage")
	}
	f.Directives, f.Escape, f.emptyAt = p.directives, rune(p.escape), p.emptyAt
	return f
}

// next assembles the next logical line: comments and blank lines skipped, continuations joined. Its keyword is not yet
// known.
func (p *parser) next() (*node, bool) {
	for p.off < len(p.text) {
		start, end := p.line()
		start = skipSpace(p.text, start, end)
		if p.directive(start, end) {
			continue
		}
		if start == end {
			continue
		}
		if p.text[start] == '#' {
			p.comment(p.text[start+1 : end])
			continue
		}
		n := p.join(start, end)
		n.comments, p.comments = p.comments, nil
		return n, true
	}
	return nil, false
}

// comment keeps a comment for the instruction below it. As in BuildKit, an empty comment cuts the ones above it off.
func (p *parser) comment(text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		p.comments = nil
		return
	}
	p.comments = append(p.comments, text)
}

// line takes the next physical line and gives its bounds without the line ending.
func (p *parser) line() (start, end int) {
	start = p.off
	if i := strings.IndexByte(p.text[start:], '\n'); i >= 0 {
		end, p.off = start+i, start+i+1
	} else {
		end = len(p.text)
		p.off = end
	}
	for end > start && p.text[end-1] == '\r' {
		end--
	}
	return start, end
}

// join makes the logical line that begins with the physical line text[start:end].
func (p *parser) join(start, end int) *node {
	n := &node{src: p.src, escape: rune(p.escape), start: start}
	cut, more := p.continued(start, end)
	n.end = end
	if !more {
		n.logical = p.text[start:end]
		n.pieces = []piece{{0, start}}
		return n
	}
	var b strings.Builder
	n.pieces = append(n.pieces, piece{0, start})
	b.WriteString(p.text[start:cut])
	warned := false
	for more && p.off < len(p.text) {
		start, end = p.line()
		n.end = end
		if i := skipSpace(p.text, start, end); i == end {
			if !warned {
				p.emptyAt = append(p.emptyAt, p.src.pos(start))
			}
			warned = true
			continue
		} else if p.text[i] == '#' {
			continue
		}
		cut, more = p.continued(start, end)
		n.pieces = append(n.pieces, piece{b.Len(), start})
		b.WriteString(p.text[start:cut])
	}
	n.logical = b.String()
	return n
}

// continued tells whether a line goes on in the next, and where its text then ends. The escape character must be the
// last thing but blanks and not follow another one: Docker looks at one character before it, no further.
func (p *parser) continued(start, end int) (cut int, more bool) {
	i := end - 1
	for i >= start && (p.text[i] == ' ' || p.text[i] == '\t') {
		i--
	}
	if i < start || p.text[i] != p.escape || i > start && p.text[i-1] == p.escape {
		return end, false
	}
	return i, true
}

// skipSpace gives the first offset in text[start:end] that is not white space.
func skipSpace(text string, start, end int) int {
	for start < end {
		r, n := rune(text[start]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[start:end])
		}
		if !unicode.IsSpace(r) {
			break
		}
		start += n
	}
	return start
}

// trimSpace narrows text[start:end] on both sides.
func trimSpace(text string, start, end int) (int, int) {
	start = skipSpace(text, start, end)
	return start, start + len(strings.TrimRightFunc(text[start:end], unicode.IsSpace))
}

func before(a, b Pos) bool { return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column }

func nulHint(src []byte) string {
	if bytes.HasPrefix(src, []byte{0xff, 0xfe}) || bytes.HasPrefix(src, []byte{0xfe, 0xff}) {
		return "the file is in UTF-16; save it as UTF-8"
	}
	return ""
}
