package parser

import (
	"fmt"
	"strings"
)

// maxExcerpt is how many lines of a long instruction are shown.
const maxExcerpt = 12

// Excerpt is the source of an instruction with line numbers, up to around
// lines before and after it, its own lines marked with ">". It ends without a
// line break.
func Excerpt(in Instruction, around int) string {
	src, first, last := in.common().src, in.Pos().Line, in.EndLine()
	end := last
	if end-first >= maxExcerpt {
		end = first + maxExcerpt - 1
	}
	var b strings.Builder
	line := func(mark string, n int) {
		text := printable(src.line(n))
		if r := []rune(text); len(r) > snippetWidth {
			text = string(r[:snippetWidth]) + "..."
		}
		fmt.Fprintf(&b, "%s%4d | %s\n", mark, n, text)
	}
	for n := max(1, first-around); n < first; n++ {
		line(" ", n)
	}
	for n := first; n <= end; n++ {
		line(">", n)
	}
	if end < last {
		fmt.Fprintf(&b, ">     | ... %d more lines\n", last-end)
	}
	for n := last + 1; n <= min(last+around, len(src.lines)); n++ {
		if n < len(src.lines) || src.line(n) != "" {
			line(" ", n)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
