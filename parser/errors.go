package parser

import (
	"fmt"
	"strings"
)

// A Kind tells apart the two ways in which a Dockerfile can be refused.
type Kind int

const (
	// Malformed is text that is not in the language.
	Malformed Kind = iota
	// Unsupported is text that Docker would take, and this program cannot honour.
	Unsupported
)

// String is "malformed" or "unsupported".
func (k Kind) String() string {
	if k == Unsupported {
		return "unsupported"
	}
	return "malformed"
}

// An Error is one thing wrong with a Dockerfile, and where.
type Error struct {
	Name       string // of the file
	Pos        Pos
	Kind       Kind
	Msg        string
	Hint       string // advice, or ""
	SourceLine string // the line Pos is in, without its line break
}

// Error is one line: "Dockerfile:3:7: unknown instruction \"RNU\"".
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Pos.Line, e.Pos.Column, e.Msg)
}

// Snippet is the source line and, below it, a caret at the place; two lines without a final line break. Long lines are
// cut around the place.
func (e *Error) Snippet() string { return snippet(e.SourceLine, e.Pos) }

// An ErrorList is every error of one file, in order of position. It is never empty.
type ErrorList []*Error

// Error is the first error and the number of others.
func (l ErrorList) Error() string {
	if len(l) == 1 {
		return l[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", l[0].Error(), len(l)-1)
}

// Unwrap gives the errors, for errors.As.
func (l ErrorList) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

const snippetWidth = 120

func snippet(line string, pos Pos) string {
	at := min(max(pos.Column-1, 0), len(line))
	prefix := ""
	if at > snippetWidth*2/3 {
		cut := at - snippetWidth/3
		for cut < at && line[cut]&0xc0 == 0x80 {
			cut++
		}
		line, at, prefix = line[cut:], at-cut, "..."
	}
	suffix := ""
	if len(line) > snippetWidth {
		cut := snippetWidth
		for cut > at && line[cut]&0xc0 == 0x80 {
			cut--
		}
		line, suffix = line[:cut], "..."
	}
	num := fmt.Sprintf("%5d | ", pos.Line)
	var pad strings.Builder
	pad.WriteString(strings.Repeat(" ", len(num)-2) + "| " + strings.Repeat(" ", len(prefix)))
	for _, r := range line[:at] {
		if r == '\t' {
			pad.WriteByte('\t')
		} else {
			pad.WriteByte(' ')
		}
	}
	return num + prefix + printable(line) + suffix + "\n" + pad.String() + "^"
}

// printable replaces control characters other than tab, so that a terminal cannot be driven by a Dockerfile.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}
