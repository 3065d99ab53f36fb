package parser

import (
	"slices"
	"strings"
)

// expansion expands the words of one instruction. After an error it does nothing more.
type expansion struct {
	n      *node
	lookup Lookup
	unset  []string
	err    error
}

func appendNew(names, more []string) []string {
	for _, n := range more {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

func (x *expansion) word(w Word) Word {
	if x.err != nil {
		return w
	}
	value, unset, bad := expandText(w.Text, x.n.escape, x.lookup)
	x.unset = appendNew(x.unset, unset)
	if bad != nil {
		x.fail(w, bad)
		return w
	}
	return Word{Text: value, Pos: w.Pos, off: -1}
}

func (x *expansion) words(ws []Word) []Word {
	out := slices.Clone(ws)
	for i, w := range ws {
		out[i] = x.word(w)
	}
	return out
}

func (x *expansion) fail(w Word, bad *expandError) {
	pos := w.Pos
	if w.off >= 0 {
		pos = x.n.posAt(w.off + bad.off)
	}
	x.err = x.n.src.errorAt(pos, Malformed, bad.msg, bad.hint)
}

// need reports a word that must not be empty, and is after expansion.
func (x *expansion) need(before, after Word, what string) {
	if x.err == nil && after.Text == "" {
		x.err = x.n.src.errorAt(before.Pos, Malformed, what+" is empty once the variables in "+before.Text+" are replaced", "")
	}
}

// result is the copy, unless there was an error.
func (x *expansion) result(in Instruction) (Instruction, []string, error) {
	if x.err != nil {
		return nil, x.unset, x.err
	}
	return in, x.unset, nil
}

// Expand implements [Instruction]. The lookup should know the ARGs before the first FROM and the predefined platform ARGs
// only.
func (i *From) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Image = x.word(i.Image)
	x.need(i.Image, c.Image, "the image")
	if c.Platform = x.word(i.Platform); i.Platform.Text != "" {
		x.need(i.Platform, c.Platform, "the platform")
	}
	return x.result(&c)
}

// Expand implements [Instruction]. Only the values of --mount are expanded.
func (i *Run) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Mounts = make([]*Mount, len(i.Mounts))
	for k, m := range i.Mounts {
		fresh := &Mount{Type: MountBind, Pos: m.Pos, fields: m.fields}
		unset, bad := fresh.resolve(i.escape, lookup)
		x.unset = appendNew(x.unset, unset)
		if bad != nil {
			x.err = i.src.errorAt(i.mountPos(m, bad.field), Malformed, "--mount: "+bad.msg, bad.hint)
			break
		}
		c.Mounts[k] = fresh
	}
	return x.result(&c)
}

func (x *expansion) paths(p Paths) Paths {
	p.Chown, p.Chmod = x.word(p.Chown), x.word(p.Chmod)
	p.Sources, p.Dest = x.words(p.Sources), x.word(p.Dest)
	p.Files = slices.Clone(p.Files)
	for i, h := range p.Files {
		p.Files[i] = x.file(h)
	}
	return p
}

// file gives a heredoc's final body.
func (x *expansion) file(h *Heredoc) *Heredoc {
	c := *h
	c.Content, c.expanded = h.Body(), true
	if x.err != nil || !h.Expand || h.expanded {
		return &c
	}
	e := expander{text: c.Content, escape: '\\', lookup: x.lookup, noQuotes: true}
	value, bad := e.run(mode{}, nil)
	x.unset = appendNew(x.unset, e.unset)
	if bad != nil {
		at := bad.alone(c.Content).Pos
		pos := Pos{Line: h.bodyLine + at.Line - 1, Column: at.Column}
		if line := x.n.src.line(pos.Line); h.Chomp {
			pos.Column += len(line) - len(strings.TrimLeft(line, "\t"))
		}
		x.err = x.n.src.errorAt(pos, Malformed, bad.msg, bad.hint)
	}
	c.Content = value
	return &c
}

// Expand implements [Instruction].
func (i *Copy) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Paths = x.paths(i.Paths)
	return x.result(&c)
}

// Expand implements [Instruction].
func (i *Add) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Paths, c.Checksum = x.paths(i.Paths), x.word(i.Checksum)
	return x.result(&c)
}

// Expand implements [Instruction]. Each default sees those before it; a caller with build arguments uses [ArgDef.Value].
func (i *Arg) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node}, *i
	known := map[string]string{}
	x.lookup = func(name string) (string, bool) {
		if v, ok := known[name]; ok {
			return v, true
		}
		return lookup(name)
	}
	c.Args = slices.Clone(i.Args)
	for k, a := range i.Args {
		if a.Default != nil {
			v := x.word(*a.Default)
			c.Args[k].Default, known[a.Name] = &v, v.Text
		}
	}
	return x.result(&c)
}

// Value expands the default. An ok of false means that there is none. A caller declares the ARGs of one instruction one
// by one, so that each default sees those before it, and asks only for the defaults it needs: an error in a default
// that a build argument replaces is no error.
func (a *ArgDef) Value(lookup Lookup) (value string, ok bool, unset []string, err error) {
	if a.Default == nil {
		return "", false, nil, nil
	}
	x := expansion{n: a.owner, lookup: lookup}
	w := x.word(*a.Default)
	if x.err != nil {
		return "", false, x.unset, x.err
	}
	return w.Text, true, x.unset, nil
}

func (x *expansion) pairs(pairs []Pair) []Pair {
	out := slices.Clone(pairs)
	for i, p := range pairs {
		out[i].Key, out[i].Value = x.word(p.Key), x.word(p.Value)
		x.need(p.Key, out[i].Key, "the name")
	}
	return out
}

// Expand implements [Instruction].
func (i *Env) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Pairs = x.pairs(i.Pairs)
	return x.result(&c)
}

// Expand implements [Instruction].
func (i *Label) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Pairs = x.pairs(i.Pairs)
	return x.result(&c)
}

// Expand implements [Instruction].
func (i *Workdir) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Path = x.word(i.Path)
	return x.result(&c)
}

// Expand implements [Instruction].
func (i *User) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Name = x.word(i.Name)
	return x.result(&c)
}

// Expand implements [Instruction]. The words are then ports, see [ParsePort], which has read them once already.
func (i *Expose) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Ports = nil
	for _, p := range i.Ports {
		e := expander{text: p.Text, escape: i.escape, lookup: lookup}
		var w splitter
		_, bad := e.run(mode{}, &w)
		x.unset = appendNew(x.unset, e.unset)
		if bad != nil {
			x.fail(p, bad)
			break
		}
		w.flush(len(p.Text))
		for _, port := range w.words {
			if _, err := ParsePort(port); err != nil {
				x.err = i.src.errorAt(p.Pos, Malformed, err.Error(), "")
			}
			c.Ports = append(c.Ports, Word{Text: port, Pos: p.Pos, off: -1})
		}
	}
	return x.result(&c)
}

// Expand implements [Instruction].
func (i *Volume) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Paths = x.words(i.Paths)
	for k, p := range c.Paths {
		x.need(i.Paths[k], p, "the path")
	}
	return x.result(&c)
}

// Expand implements [Instruction].
func (i *StopSignal) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Signal = x.word(i.Signal)
	return x.result(&c)
}

// Expand implements [Instruction].
func (i *Rsync) Expand(lookup Lookup) (Instruction, []string, error) {
	x, c := expansion{n: i.node, lookup: lookup}, *i
	c.Options, c.Sources, c.Dest = x.words(i.Options), x.words(i.Sources), x.word(i.Dest)
	return x.result(&c)
}

// Expand implements [Instruction]: there is nothing to expand.
func (i *Cmd) Expand(Lookup) (Instruction, []string, error) { return i, nil, nil }

// Expand implements [Instruction]: there is nothing to expand.
func (i *Entrypoint) Expand(Lookup) (Instruction, []string, error) { return i, nil, nil }

// Expand implements [Instruction]: there is nothing to expand.
func (i *Healthcheck) Expand(Lookup) (Instruction, []string, error) { return i, nil, nil }

// Expand implements [Instruction]: there is nothing to expand.
func (i *Shell) Expand(Lookup) (Instruction, []string, error) { return i, nil, nil }

// Expand implements [Instruction]: there is nothing to expand.
func (i *Onbuild) Expand(Lookup) (Instruction, []string, error) { return i, nil, nil }

// Expand implements [Instruction]: there is nothing to expand.
func (i *Maintainer) Expand(Lookup) (Instruction, []string, error) { return i, nil, nil }
