package parser

import (
	"fmt"
	"slices"
	"strings"
)

func (b *builder) run(flags []givenFlag, start, end int) *Run {
	b.checkFlags(flags, flagSpec{"mount", listFlag}, flagSpec{"network", stringFlag},
		flagSpec{"security", stringFlag}, flagSpec{"device", listFlag})
	r := &Run{node: b.n, Command: b.command(start, end), Network: "default", Security: "sandbox"}
	if r.JSON && len(r.Args) == 0 {
		b.fail(start, "RUN needs a command", "")
	}
	if !r.JSON {
		for _, s := range b.heredocs(start, end) {
			r.Heredocs = append(r.Heredocs, s.doc)
		}
	}
	b.oneOf(flags, "network", &r.Network, "default", "none", "host")
	b.oneOf(flags, "security", &r.Security, "sandbox", "insecure")
	for _, w := range b.flagValues(flags, "mount") {
		if m := b.mount(w); m != nil {
			r.Mounts = append(r.Mounts, m)
		}
	}
	for _, w := range b.flagValues(flags, "device") {
		r.Devices = append(r.Devices, b.device(w))
	}
	return r
}

// oneOf reads a flag that has a few values only.
func (b *builder) oneOf(flags []givenFlag, name string, value *string, options ...string) {
	for _, f := range flags {
		if f.name != name || !f.hasValue {
			continue
		}
		*value = f.value
		if !slices.Contains(options, f.value) {
			b.failAt(b.valueWord(f).Pos, fmt.Sprintf("--%s is one of %s, not %q", name, strings.Join(options, ", "), shorten(f.value)), didYouMean(f.value, options))
		}
	}
}

func didYouMean(word string, options []string) string {
	if m := nearest(word, options); m != "" && m != word {
		return "did you mean " + m + "?"
	}
	return ""
}

func (b *builder) copy(flags []givenFlag, start, end int) *Copy {
	b.checkFlags(flags, flagSpec{"from", stringFlag}, flagSpec{"chown", stringFlag}, flagSpec{"chmod", stringFlag},
		flagSpec{"link", boolFlag}, flagSpec{"parents", boolFlag}, flagSpec{"exclude", listFlag})
	c := &Copy{node: b.n, From: b.flagValue(flags, "from"), Parents: isTrue(flagBool(flags, "parents"))}
	c.Paths = b.paths(flags, start, end)
	if v, _, err := expandText(c.From.Text, b.n.escape, noVariables); err != nil || v != c.From.Text {
		b.failAt(c.From.Pos, "--from cannot hold variables", "declare a stage with FROM, which can, and name it here")
	}
	return c
}

func (b *builder) add(flags []givenFlag, start, end int) *Add {
	b.checkFlags(flags, flagSpec{"keep-git-dir", boolFlag}, flagSpec{"checksum", stringFlag}, flagSpec{"unpack", boolFlag},
		flagSpec{"chown", stringFlag}, flagSpec{"chmod", stringFlag}, flagSpec{"link", boolFlag}, flagSpec{"exclude", listFlag})
	return &Add{
		node: b.n, Paths: b.paths(flags, start, end), Checksum: b.flagValue(flags, "checksum"),
		Unpack: flagBool(flags, "unpack"), KeepGitDir: flagBool(flags, "keep-git-dir"),
	}
}

// paths reads what COPY and ADD have in common.
func (b *builder) paths(flags []givenFlag, start, end int) Paths {
	words, isJSON, ok := b.list(start, end)
	p := Paths{
		JSON: isJSON, Chown: b.flagValue(flags, "chown"), Chmod: b.flagValue(flags, "chmod"),
		Link: isTrue(flagBool(flags, "link")), Exclude: b.flagValues(flags, "exclude"),
	}
	if ok && !isJSON {
		if strings.Contains(b.n.logical[start:end], "<<") {
			p.args = b.n.logical[start:end]
		}
		if spans := b.heredocs(start, end); len(spans) > 0 {
			b.files(&p, words, spans)
			return p
		}
	}
	switch len(words) {
	case 0:
		if !ok {
			break
		}
		b.fail(start, b.n.keyword+" needs a source and a destination", b.n.keyword+" SOURCE... DESTINATION")
	case 1:
		b.failAt(words[0].Pos, b.n.keyword+" needs a destination too", b.n.keyword+" SOURCE... DESTINATION")
	default:
		p.Sources, p.Dest = words[:len(words)-1], words[len(words)-1]
	}
	return p
}

// files sorts the arguments of a COPY or ADD with heredocs.
func (b *builder) files(p *Paths, words []Word, spans []heredocSpan) {
	last := spans[len(spans)-1]
	for _, s := range spans {
		p.Files = append(p.Files, s.doc)
	}
	p.Sources = withoutHeredocs(words, spans)
	n := len(p.Sources) - 1
	if n < 0 || p.Sources[n].off < last.start {
		b.fail(last.start, b.n.keyword+" cannot write into a heredoc", "the destination comes last")
		return
	}
	p.Sources, p.Dest = p.Sources[:n], p.Sources[n]
}

// withoutHeredocs drops the words that are heredoc words, or parts of one.
func withoutHeredocs(words []Word, spans []heredocSpan) []Word {
	var kept []Word
	for _, w := range words {
		in := func(s heredocSpan) bool { return s.start <= w.off && w.off < s.end }
		if !slices.ContainsFunc(spans, in) {
			kept = append(kept, w)
		}
	}
	return kept
}
