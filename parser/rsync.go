package parser

import (
	"fmt"
	"strings"
)

// rsync reads RSYNC [+m|+l|+u|+z] [OPTION...] SRC... DEST. All options are rsync's own, and those that would turn it into
// something else than a copy are refused (Charliecloud's manual, ch-image(1), RSYNC).
func (b *builder) rsync(start, end int) *Rsync {
	r := &Rsync{node: b.n, Mode: 'l'}
	if _, isJSON, _ := b.n.jsonWords(start, end); isJSON {
		b.fail(start, "RSYNC has no JSON form", "")
		return r
	}
	words := b.n.splitQuoted(start, end)
	if len(words) > 0 && strings.HasPrefix(words[0].Text, "+") {
		switch words[0].Text {
		case "+m", "+l", "+u", "+z":
			r.Mode = words[0].Text[1]
		default:
			b.failAt(words[0].Pos, fmt.Sprintf("RSYNC has no plus option %q", shorten(words[0].Text)), "there are +m, +l, +u, +z")
		}
		words = words[1:]
	}
	for len(words) > 0 && strings.HasPrefix(words[0].Text, "-") {
		w := words[0]
		words = words[1:]
		if w.Text == "--" {
			break
		}
		b.rsyncOption(w)
		r.Options = append(r.Options, w)
	}
	if len(words) < 2 {
		b.fail(start, "RSYNC needs a source and a destination", "RSYNC [+m|+l|+u|+z] [OPTION...] SOURCE... DESTINATION")
		return r
	}
	r.Sources, r.Dest = words[:len(words)-1], words[len(words)-1]
	for _, w := range words {
		if strings.Contains(w.Text, ":") && !strings.Contains(w.Text, "$") {
			b.failAt(w.Pos, fmt.Sprintf("RSYNC copies from the context only: %q names a host", shorten(w.Text)), "")
		}
	}
	return r
}

func (b *builder) rsyncOption(w Word) {
	name, _, _ := strings.Cut(w.Text, "=")
	bad := false
	switch name {
	case "--files-from", "--include-from", "--exclude-from", "--password-file":
		_, file, _ := strings.Cut(w.Text, "=")
		bad = file == "-" || strings.Contains(file, ":")
	case "--daemon", "--dry-run", "--remove-source-files":
		bad = true
	default:
		short := strings.HasPrefix(w.Text, "-") && !strings.HasPrefix(w.Text, "--")
		bad = short && strings.Contains(name, "n")
	}
	if bad {
		b.failAt(w.Pos, fmt.Sprintf("RSYNC does not take the option %s", shorten(w.Text)), "")
	}
}
