package parser

import (
	"fmt"
	"strings"
	"unicode"
)

// builder makes one typed instruction from a logical line.
type builder struct {
	p      *parser
	n      *node
	failed bool
	in     string // "ONBUILD" if n is a trigger
}

func (b *builder) fail(at int, msg, hint string) {
	b.failAt(b.n.posAt(at), msg, hint)
}

func (b *builder) failAt(pos Pos, msg, hint string) {
	b.failed = true
	b.p.errs = append(b.p.errs, b.p.src.errorAt(pos, Malformed, msg, hint))
}

// instruction types n and reads its heredoc bodies. It is nil if there were errors.
func (p *parser) instruction(n *node) Instruction {
	b := &builder{p: p, n: n}
	in := b.build()
	p.finish(n)
	if b.failed {
		return nil
	}
	return in
}

// finish notes where the instruction ends.
func (p *parser) finish(n *node) {
	n.endLine = p.src.pos(n.end).Line
}

// keywords are the names of all instructions.
func keywords() []string {
	return []string{
		"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
		"ONBUILD", "RSYNC", "NSYNC", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
	}
}

// build reads keyword, flags and arguments.
func (b *builder) build() Instruction {
	n := b.n
	word, start, end := n.splitKeyword()
	n.written, n.keyword = word, strings.ToUpper(word)
	if n.keyword == "RSYNC" || n.keyword == "NSYNC" { // its options are rsync's
		n.keyword = "RSYNC"
		return b.rsync(start, end)
	}
	flags, start := b.splitFlags(start, end)
	if b.failed {
		return nil
	}
	start, end = trimSpace(n.logical, start, end)
	switch n.keyword {
	case "FROM":
		return b.from(flags, start, end)
	case "RUN":
		return b.run(flags, start, end)
	case "COPY":
		return b.copy(flags, start, end)
	case "ADD":
		return b.add(flags, start, end)
	case "HEALTHCHECK":
		return b.healthcheck(flags, start, end)
	case "":
		b.fail(0, "the line is continued, but nothing follows", "")
		return nil
	}
	b.checkFlags(flags)
	return b.flagless(start, end)
}

// flagless types the instructions that take no flags.
func (b *builder) flagless(start, end int) Instruction {
	switch b.n.keyword {
	case "ARG":
		return b.arg(start, end)
	case "ENV":
		pairs := b.pairs(start, end)
		return &Env{node: b.n, Pairs: pairs}
	case "LABEL":
		pairs := b.pairs(start, end)
		return &Label{node: b.n, Pairs: pairs}
	case "WORKDIR":
		return &Workdir{node: b.n, Path: b.rest(start, end, "a path")}
	case "USER":
		return &User{node: b.n, Name: b.rest(start, end, "a user")}
	case "STOPSIGNAL":
		return &StopSignal{node: b.n, Signal: b.rest(start, end, "a signal")}
	case "MAINTAINER":
		return &Maintainer{node: b.n, Name: b.rest(start, end, "a name").Text}
	case "CMD":
		return &Cmd{node: b.n, Command: b.command(start, end)}
	case "ENTRYPOINT":
		return &Entrypoint{node: b.n, Command: b.command(start, end)}
	case "EXPOSE":
		return b.expose(start, end)
	case "VOLUME":
		return b.volume(start, end)
	case "SHELL":
		return b.shell(start, end)
	case "ONBUILD":
		return b.onbuild(start, end)
	}
	b.unknown()
	b.heredocs(start, end) // lest their lines be taken for instructions
	return nil
}

// unknown reports a keyword that is none.
func (b *builder) unknown() {
	word, hint := b.n.written, ""
	if i := strings.IndexFunc(word, unicode.IsSpace); i >= 0 {
		hint = "there is a space in it that is no plain space, such as a no-break space"
	} else if m := nearest(word, keywords()); m != "" {
		hint = "did you mean " + m + "?"
	} else if b.in == "" {
		hint = "if it belongs to the instruction above, that one's line must end in " + string(b.n.escape)
	}
	b.fail(skipSpace(b.n.logical, 0, len(b.n.logical)), fmt.Sprintf("unknown instruction %q", shorten(word)), hint)
}

// shorten cuts text that goes into a message.
func shorten(s string) string {
	if len(s) <= 60 {
		return s
	}
	return strings.ToValidUTF8(s[:57], "") + "..."
}

// rest is an argument that goes to the end of the line.
func (b *builder) rest(start, end int, what string) Word {
	if start == end {
		b.fail(start, b.n.keyword+" needs "+what, "")
	}
	return b.n.word(start, end)
}

// command reads the JSON or shell form.
func (b *builder) command(start, end int) Command {
	words, ok, bad := b.n.jsonWords(start, end)
	switch {
	case bad:
		b.fail(start, "the JSON array holds something else than strings", "put numbers and other values in double quotes")
	case ok:
		return Command{JSON: true, Args: words}
	case start < end:
		return Command{Args: []string{b.n.logical[start:end]}}
	}
	return Command{}
}
