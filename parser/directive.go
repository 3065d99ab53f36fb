package parser

import (
	"fmt"
	"strings"
)

// directive looks for a parser directive in text[start:end], white space before it removed. As in BuildKit, they end at
// the first line that is none: other comments and blank lines too.
func (p *parser) directive(start, end int) bool {
	if p.directivesDone {
		return false
	}
	if !p.afterShebang && p.src.pos(start).Line == 1 && strings.HasPrefix(p.text[start:end], "#!") {
		p.afterShebang = true
		return true
	}
	name, value, valueAt := splitDirective(p.text[start:end])
	var d *Directive
	switch name {
	case "syntax":
		d = &p.directives.Syntax
	case "escape":
		d = &p.directives.Escape
	case "check":
		d = &p.directives.Check
	default:
		p.directivesDone = true
		return false
	}
	if d.Value != "" {
		p.fail(start, fmt.Sprintf("the parser directive %s is given twice", name), "")
		return true
	}
	*d = Directive{Value: value, Pos: p.src.pos(start + valueAt)}
	switch {
	case name == "escape" && p.afterShebang:
		*d = Directive{}
	case name == "escape" && value != "\\" && value != "`":
		p.fail(start+valueAt, fmt.Sprintf("the escape character cannot be %q", value), "it is \\ or `")
	case name == "escape":
		p.escape = value[0]
	case name == "check":
		if _, err := ParseCheckOptions(value); err != nil {
			p.fail(start+valueAt, err.Error(), "check=skip=RULE,RULE;error=true")
		}
	}
	return true
}

// splitDirective reads "# name = value". The name is "" if line is nothing of the kind.
func splitDirective(line string) (name, value string, valueAt int) {
	if !strings.HasPrefix(line, "#") {
		return "", "", 0
	}
	i := skipSpace(line, 1, len(line))
	j := i
	for j < len(line) && isAlnum(line[j]) && (j > i || !isDigit(line[j])) {
		j++
	}
	eq := j
	for eq < len(line) && isBlank(line[eq]) {
		eq++
	}
	if i == j || eq == len(line) || line[eq] != '=' {
		return "", "", 0
	}
	v := eq + 1
	for v < len(line) && isBlank(line[v]) {
		v++
	}
	end := len(line)
	for end > v && isBlank(line[end-1]) {
		end--
	}
	if v == end {
		return "", "", 0
	}
	return strings.ToLower(line[i:j]), line[v:end], v
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// isBlank is the white space that separates words: ASCII only.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r' }
