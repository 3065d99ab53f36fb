package parser

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// String is f in canonical form: its directives, then one instruction a line, see [Instruction]. Comments are left out.
// Parsing it gives the same tree but for the places.
func (f *File) String() string {
	var b strings.Builder
	for _, d := range []struct{ name, value string }{
		{"escape", f.Directives.Escape.Value}, {"syntax", f.Directives.Syntax.Value}, {"check", f.Directives.Check.Value},
	} {
		if d.value != "" {
			b.WriteString("# " + d.name + "=" + d.value + "\n")
		}
	}
	for _, a := range f.MetaArgs {
		b.WriteString(a.String() + "\n")
	}
	for _, s := range f.Stages {
		b.WriteString(s.From.String() + "\n")
		for _, in := range s.Instructions {
			b.WriteString(in.String() + "\n")
		}
	}
	return b.String()
}

// printer builds the canonical form of one instruction.
type printer struct {
	strings.Builder
	n *node
}

func (n *node) printer() *printer {
	p := &printer{n: n}
	p.WriteString(n.keyword)
	return p
}

// flag writes --name=value, in double quotes if need be.
func (p *printer) flag(name, value string) *printer {
	p.WriteString(" --" + name + "=")
	special := func(r rune) bool { return unicode.IsSpace(r) || r == '\'' || r == '"' || r == p.n.escape }
	if strings.IndexFunc(value, special) < 0 {
		p.WriteString(value)
		return p
	}
	p.WriteByte('"')
	for i := range len(value) {
		if c := value[i]; c == '"' || rune(c) == p.n.escape {
			p.WriteRune(p.n.escape)
		}
		p.WriteByte(value[i])
	}
	p.WriteByte('"')
	return p
}

func (p *printer) flagIf(name string, w Word) *printer {
	if w.Text != "" {
		p.flag(name, w.Text)
	}
	return p
}

func (p *printer) flagTrue(name string, on bool) *printer {
	if on {
		p.WriteString(" --" + name)
	}
	return p
}

func (p *printer) flagBool(name string, on *bool) *printer {
	if on != nil && !*on {
		p.WriteString(" --" + name + "=false")
	}
	return p.flagTrue(name, isTrue(on))
}

func (p *printer) duration(name string, d time.Duration) *printer {
	if d != 0 {
		p.flag(name, d.String())
	}
	return p
}

// text writes arguments as they were written.
func (p *printer) text(s string) *printer {
	if s != "" {
		if strings.HasPrefix(s, "--") && p.n.keyword != "RSYNC" {
			p.WriteString(" --") // else they would be flags
		}
		p.WriteString(" " + s)
	}
	return p
}

func (p *printer) words(words ...Word) *printer {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.Text
	}
	return p.text(strings.Join(texts, " "))
}

func (p *printer) json(words []string) *printer {
	p.WriteString(" [")
	for i, w := range words {
		if i > 0 {
			p.WriteString(", ")
		}
		p.WriteString(jsonString(w))
	}
	p.WriteByte(']')
	return p
}

// jsonString is s in JSON, with <, > and & left as they are.
func jsonString(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("BUG: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (p *printer) command(c *Command) *printer {
	if c.JSON {
		return p.json(c.Args)
	}
	return p.text(strings.Join(c.Args, " "))
}

// line ends the line. A form feed keeps an escape character at the end from continuing it.
func (p *printer) line() string {
	s := p.String()
	probe := parser{text: s, escape: byte(p.n.escape)}
	if _, more := probe.continued(0, len(s)); more {
		return s + "\f"
	}
	return s
}

// docs ends the line and writes the bodies of heredocs below it.
func (p *printer) docs(docs []*Heredoc) string {
	s := p.line()
	for _, h := range docs {
		s += "\n" + h.Content
		if h.Content != "" && !strings.HasSuffix(s, "\n") { // of expanded copies
			s += "\n"
		}
		s += h.Name
	}
	return s
}

// String implements [Instruction].
func (i *From) String() string {
	p := i.printer().flagIf("platform", i.Platform)
	if i.As == "" {
		return p.words(i.Image).line()
	}
	return p.words(i.Image, Word{Text: "AS"}, i.AsWord).line()
}

// String implements [Instruction].
func (i *Run) String() string {
	p := i.printer()
	for _, m := range i.Mounts {
		p.flag("mount", m.text())
	}
	if i.Network != "default" {
		p.flag("network", i.Network)
	}
	if i.Security != "sandbox" {
		p.flag("security", i.Security)
	}
	for _, d := range i.Devices {
		value := csvField("name=" + d.Name)
		if d.Required {
			value += ",required"
		}
		p.flag("device", value)
	}
	return p.command(&i.Command).docs(i.Heredocs)
}

// text is the mount's options as written.
func (m *Mount) text() string {
	fields := make([]string, len(m.fields))
	for i, f := range m.fields {
		fields[i] = f.key
		if f.hasValue {
			fields[i] += "=" + f.value
		}
		fields[i] = csvField(fields[i])
	}
	return strings.Join(fields, ",")
}

func csvField(s string) string {
	if strings.ContainsAny(s, "\",\r") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

// paths writes what COPY and ADD have in common.
func (p *printer) paths(c *Paths) string {
	p.flagIf("chown", c.Chown).flagIf("chmod", c.Chmod).flagTrue("link", c.Link)
	for _, w := range c.Exclude {
		p.flag("exclude", w.Text)
	}
	words := append(append([]Word{}, c.Sources...), c.Dest)
	switch {
	case c.JSON:
		texts := make([]string, len(words))
		for i, w := range words {
			texts[i] = w.Text
		}
		p.json(texts)
	case c.args != "":
		p.text(c.args)
	default:
		p.words(words...)
	}
	return p.docs(c.Files)
}

// String implements [Instruction].
func (i *Copy) String() string {
	return i.printer().flagIf("from", i.From).flagTrue("parents", i.Parents).paths(&i.Paths)
}

// String implements [Instruction].
func (i *Add) String() string {
	return i.printer().flagBool("keep-git-dir", i.KeepGitDir).flagIf("checksum", i.Checksum).
		flagBool("unpack", i.Unpack).paths(&i.Paths)
}

// String implements [Instruction].
func (i *Arg) String() string {
	texts := make([]string, len(i.Args))
	for k, a := range i.Args {
		texts[k] = a.Name
		if a.Default != nil {
			texts[k] += "=" + a.Default.Text
		}
	}
	return i.printer().text(strings.Join(texts, " ")).line()
}

func (p *printer) pairs(pairs []Pair) string {
	texts := make([]string, len(pairs))
	for i, v := range pairs {
		texts[i] = v.Key.Text + "=" + v.Value.Text
		switch {
		case v.Legacy && strings.ContainsAny(v.Key.Text, "\\`'\""): // with one blank it might be one word
			texts[i] = v.Key.Text + v.gap + v.Value.Text
		case v.Legacy:
			texts[i] = v.Key.Text + " " + v.Value.Text
		}
	}
	return p.text(strings.Join(texts, " ")).line()
}

// String implements [Instruction].
func (i *Env) String() string { return i.printer().pairs(i.Pairs) }

// String implements [Instruction].
func (i *Label) String() string { return i.printer().pairs(i.Pairs) }

// String implements [Instruction].
func (i *Workdir) String() string { return i.printer().words(i.Path).line() }

// String implements [Instruction].
func (i *User) String() string { return i.printer().words(i.Name).line() }

// String implements [Instruction].
func (i *Cmd) String() string { return i.printer().command(&i.Command).line() }

// String implements [Instruction].
func (i *Entrypoint) String() string { return i.printer().command(&i.Command).line() }

// String implements [Instruction].
func (i *Expose) String() string { return i.printer().words(i.Ports...).line() }

// String implements [Instruction].
func (i *Volume) String() string {
	if !i.JSON {
		return i.printer().words(i.Paths...).line()
	}
	texts := make([]string, len(i.Paths))
	for k, w := range i.Paths {
		texts[k] = w.Text
	}
	return i.printer().json(texts).line()
}

// String implements [Instruction].
func (i *StopSignal) String() string { return i.printer().words(i.Signal).line() }

// String implements [Instruction].
func (i *Healthcheck) String() string {
	p := i.printer()
	if i.None {
		return p.text("NONE").line()
	}
	p.duration("interval", i.Interval).duration("timeout", i.Timeout)
	p.duration("start-period", i.StartPeriod).duration("start-interval", i.StartInterval)
	if i.Retries != 0 {
		p.flag("retries", strconv.Itoa(i.Retries))
	}
	p.WriteString(" CMD")
	if i.JSON {
		return p.json(i.Args).line()
	}
	p.WriteString(" " + i.Args[0]) // no flags can stand here
	return p.line()
}

// String implements [Instruction].
func (i *Shell) String() string { return i.printer().json(i.Args).line() }

// String implements [Instruction].
func (i *Onbuild) String() string { return i.keyword + " " + i.Trigger.String() }

// String implements [Instruction].
func (i *Maintainer) String() string { return i.printer().text(i.Name).line() }

// String implements [Instruction].
func (i *Rsync) String() string {
	p := i.printer()
	p.WriteString(" +" + string(rune(i.Mode)))
	words := append([]Word{}, i.Options...)
	if len(i.Sources) > 0 && strings.HasPrefix(i.Sources[0].Text, "-") {
		words = append(words, Word{Text: "--"})
	}
	return p.words(append(append(words, i.Sources...), i.Dest)...).line()
}
