package parser

import (
	"sort"
	"strings"
)

// source is the text of one file.
type source struct {
	name  string
	text  string
	lines []int // offset of the start of every line
}

func newSource(name, text string) *source {
	s := &source{name: name, text: text, lines: make([]int, 1, 1+strings.Count(text, "\n"))}
	for i := 0; ; {
		n := strings.IndexByte(text[i:], '\n')
		if n < 0 {
			return s
		}
		i += n + 1
		s.lines = append(s.lines, i)
	}
}

// pos turns an offset into a place.
func (s *source) pos(off int) Pos {
	i := sort.SearchInts(s.lines, off+1) - 1
	return Pos{Line: i + 1, Column: off - s.lines[i] + 1}
}

// line is the text of a line from 1, without its ending.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	text := s.text[s.lines[n-1]:]
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return strings.TrimRight(text, "\r")
}

func (s *source) errorAt(pos Pos, kind Kind, msg, hint string) *Error {
	return &Error{Name: s.name, Pos: pos, Kind: kind, Msg: msg, Hint: hint, SourceLine: s.line(pos.Line)}
}

// node is what all instructions have.
type node struct {
	src      *source
	escape   rune
	keyword  string // in capitals
	written  string // as written
	start    int    // offset of the keyword in the source
	endLine  int
	end      int // offset after the last byte
	logical  string
	pieces   []piece
	comments []string // of the comment lines just above
}

// piece says that logical[at:] up to the next piece is the source from off on.
type piece struct{ at, off int }

func (n *node) common() *node   { return n }
func (n *node) Pos() Pos        { return n.src.pos(n.start) }
func (n *node) EndLine() int    { return n.endLine }
func (n *node) Keyword() string { return n.keyword }
func (n *node) Source() string  { return strings.TrimRight(n.src.text[n.start:n.end], "\r\n") }

// posAt turns an offset in the logical line into a place in the file.
func (n *node) posAt(at int) Pos { return n.src.pos(n.offAt(at)) }

// offAt turns an offset in the logical line into one in the file.
func (n *node) offAt(at int) int {
	i := len(n.pieces) - 1
	if i > 0 {
		i = sort.Search(len(n.pieces), func(i int) bool { return n.pieces[i].at > at }) - 1
	}
	return n.pieces[i].off + at - n.pieces[i].at
}

// shiftPieces is pieces for the logical line from at on.
func shiftPieces(n *node, at int) []piece {
	pieces := []piece{{0, n.offAt(at)}}
	for _, p := range n.pieces {
		if p.at > at {
			pieces = append(pieces, piece{p.at - at, p.off})
		}
	}
	return pieces
}
