package parser

import (
	"fmt"
	"strconv"
	"strings"
)

// heredocSpan is a heredoc's word in the logical line.
type heredocSpan struct {
	start, end int
	doc        *Heredoc
}

// findHeredocs gives the heredoc words of a logical line. Docker splits the line into words as if by a shell whose escape
// is '\\', and looks for words that begin with <<; a line that cannot be split, as for a quote left open, has none.
func findHeredocs(text string) []heredocSpan {
	if !strings.Contains(text, "<<") {
		return nil
	}
	e := expander{text: text, escape: '\\', lookup: noVariables, keepQuotes: true, keepUnset: true}
	var w splitter
	if _, err := e.run(mode{escapes: true}, &w); err != nil {
		return nil
	}
	w.flush(len(text))
	var spans []heredocSpan
	for i, word := range w.words {
		if doc := heredocWord(word); doc != nil {
			spans = append(spans, heredocSpan{w.starts[i], w.ends[i], doc})
		}
	}
	return spans
}

func noVariables(string) (string, bool) { return "", false }

// heredocWord reads [N]<<[-]WORD, nil if word is nothing of the kind.
func heredocWord(word string) *Heredoc {
	digits := 0
	for digits < len(word) && isDigit(word[digits]) {
		digits++
	}
	rest, ok := strings.CutPrefix(word[digits:], "<<")
	if !ok || strings.Contains(rest, "<") {
		return nil
	}
	doc := &Heredoc{}
	doc.FD, _ = strconv.Atoi(word[:digits])
	rest, doc.Chomp = strings.CutPrefix(rest, "-")
	rest = strings.TrimLeft(rest, "\t\n\f\r ")
	if rest == "" {
		return nil
	}
	e := expander{text: rest, escape: '\\', lookup: noVariables, keepUnset: true}
	var w splitter
	if _, err := e.run(mode{}, &w); err != nil {
		return nil
	}
	if w.flush(len(rest)); len(w.words) != 1 {
		return nil
	}
	doc.Name = w.words[0]
	e = expander{text: rest, escape: '\\', lookup: noVariables, keepUnset: true, keepQuotes: true}
	raw, _ := e.run(mode{}, nil)
	doc.Expand = countQuotes(raw) == countQuotes(doc.Name)
	return doc
}

func countQuotes(s string) int { return strings.Count(s, "'") + strings.Count(s, `"`) }

// heredocs finds the heredocs in logical[start:end] and takes their bodies from the lines below the instruction.
func (b *builder) heredocs(start, end int) []heredocSpan {
	spans := findHeredocs(b.n.logical[start:end])
	for i := range spans {
		s := &spans[i]
		s.start, s.end = s.start+start, s.end+start
		s.doc.Pos = b.n.posAt(s.start)
		s.doc.bodyLine = b.p.src.pos(b.p.off).Line
		if !b.body(s.doc) {
			b.fail(s.start, fmt.Sprintf("the heredoc has no end: no line below is %q", shorten(s.doc.Name)), heredocHint(s.doc))
			return spans[:i]
		}
	}
	return spans
}

// body reads lines up to the heredoc's name.
func (b *builder) body(doc *Heredoc) bool {
	from := b.p.off
	for b.p.off < len(b.p.text) {
		start, end := b.p.line()
		b.n.end = end
		line := b.p.text[start:end]
		if doc.Chomp {
			line = strings.TrimLeft(line, "\t")
		}
		if line == doc.Name {
			doc.Content = b.p.text[from:start]
			return true
		}
	}
	return false
}

func heredocHint(doc *Heredoc) string {
	if i := strings.IndexAny(doc.Name, ")|&;>("); i >= 0 {
		return fmt.Sprintf("the word after << goes up to the next blank; if no heredoc is meant, quote the <<, else put a blank before %q", doc.Name[i:i+1])
	}
	if !doc.Chomp {
		return "the last line must be the word alone, without blanks around it"
	}
	return "the last line must be the word alone; tabs may stand before it"
}

// Body is the content with the tabs of <<- dropped.
func (h *Heredoc) Body() string {
	if !h.Chomp || h.expanded {
		return h.Content
	}
	lines := strings.SplitAfter(h.Content, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimLeft(l, "\t")
	}
	return strings.Join(lines, "")
}

// Script is what a shell-form RUN runs: text for the shell; or, if the whole command is one heredoc whose body begins
// with "#!", that body, which is then to be run as an executable file named Heredocs[0].Name, without arguments and
// without the shell. Docker puts it at /dev/pipes/NAME, mode 0755. Bodies are not expanded by us: the shell does it.
func (c *Command) Script() (text string, file bool) {
	if c.JSON || len(c.Args) == 0 {
		return "", false
	}
	text = c.Args[0]
	if len(c.Heredocs) == 0 {
		return text, false
	}
	if heredocWord(text) != nil {
		body := c.Heredocs[0].Body()
		return body, strings.HasPrefix(body, "#!")
	}
	var b strings.Builder
	b.WriteString(text)
	for _, h := range c.Heredocs {
		b.WriteString("\n" + h.Content + h.Name)
	}
	return b.String(), false
}

// Test is the Test field of the image configuration: {"NONE"}, {"CMD", ...} or {"CMD-SHELL", text}.
func (h *Healthcheck) Test() []string {
	switch {
	case h.None:
		return []string{"NONE"}
	case h.JSON:
		return append([]string{"CMD"}, h.Args...)
	}
	return append([]string{"CMD-SHELL"}, h.Args...)
}

// heredocsOf gives the heredocs of any instruction.
func heredocsOf(in Instruction) []*Heredoc {
	switch in := in.(type) {
	case *Run:
		return in.Heredocs
	case *Copy:
		return in.Files
	case *Add:
		return in.Files
	case *Onbuild:
		return heredocsOf(in.Trigger)
	}
	return nil
}
