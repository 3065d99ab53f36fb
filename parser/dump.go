package parser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// object is part of a syntax tree, ready to be shown: names and values in order. A value is a string, int, bool, []string,
// object or []object.
type object []entry

type entry struct {
	name  string
	value any
}

// MarshalJSON implements [json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(e.value)
		if err != nil {
			return nil, err
		}
		b.WriteString(strconv.Quote(e.name) + ":")
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// set adds a value unless it is empty.
func (o *object) set(name string, value any) {
	switch v := value.(type) {
	case Word:
		o.set(name, v.Text)
		return
	case []Word:
		texts := make([]string, len(v))
		for i, w := range v {
			texts[i] = w.Text
		}
		o.set(name, texts)
		return
	case string:
		if v == "" {
			return
		}
	case bool:
		if !v {
			return
		}
	case *bool:
		if v == nil {
			return
		}
		value = *v
	case int:
		if v == 0 {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	case []object:
		if len(v) == 0 {
			return
		}
	}
	*o = append(*o, entry{name, value})
}

// MarshalJSON is the syntax tree for programs: {"name", "directives", "escape", "args": [INSTRUCTION...], "stages":
// [{"name", "instructions": [INSTRUCTION...]}...]}. An instruction has "instruction", "line", "column", "endLine" and what
// its kind has, words as written; what is empty is left out.
func (f *File) MarshalJSON() ([]byte, error) { return f.object(true).MarshalJSON() }

// object is f; without places, so that two spellings of one file can be compared.
func (f *File) object(places bool) object {
	var o, d object
	if places {
		o.set("name", f.Name)
	}
	d.set("syntax", f.Directives.Syntax.Value)
	d.set("escape", f.Directives.Escape.Value)
	d.set("check", f.Directives.Check.Value)
	if len(d) > 0 {
		o.set("directives", d)
	}
	o.set("escape", string(f.Escape))
	var args []object
	for _, a := range f.MetaArgs {
		args = append(args, describe(a, places))
	}
	o.set("args", args)
	stages := make([]object, 0, len(f.Stages))
	for _, s := range f.Stages {
		var stage object
		stage.set("name", s.Name())
		list := []object{describe(s.From, places)}
		for _, in := range s.Instructions {
			list = append(list, describe(in, places))
		}
		stage.set("instructions", list)
		stages = append(stages, stage)
	}
	o.set("stages", stages)
	return o
}

// describe shows one instruction.
func describe(in Instruction, places bool) object {
	o := object{{"instruction", in.Keyword()}}
	if places {
		pos := in.Pos()
		o = append(o, entry{"line", pos.Line}, entry{"column", pos.Column}, entry{"endLine", in.EndLine()})
	}
	switch in := in.(type) {
	case *From:
		o.set("platform", in.Platform)
		o.set("image", in.Image)
		o.set("as", in.As)
	case *Run:
		describeRun(&o, in)
	case *Copy:
		o.set("from", in.From)
		o.set("parents", in.Parents)
		describePaths(&o, &in.Paths)
	case *Add:
		o.set("keepGitDir", in.KeepGitDir)
		o.set("checksum", in.Checksum)
		o.set("unpack", in.Unpack)
		describePaths(&o, &in.Paths)
	case *Arg:
		o.set("args", describeArgs(in))
	case *Env:
		o.set("pairs", describePairs(in.Pairs))
	case *Label:
		o.set("pairs", describePairs(in.Pairs))
	case *Healthcheck:
		describeHealthcheck(&o, in)
	case *Onbuild:
		if places { // as written, which the canonical form is not
			o.set("text", in.Text)
		}
		o.set("trigger", describe(in.Trigger, places))
	case *Rsync:
		o.set("mode", "+"+string(rune(in.Mode)))
		o.set("options", in.Options)
		o.set("sources", in.Sources)
		o.set("destination", in.Dest)
	default:
		describeSimple(&o, in)
	}
	return o
}

func describeSimple(o *object, in Instruction) {
	switch in := in.(type) {
	case *Workdir:
		o.set("path", in.Path)
	case *User:
		o.set("user", in.Name)
	case *Cmd:
		describeCommand(o, &in.Command)
	case *Entrypoint:
		describeCommand(o, &in.Command)
	case *Expose:
		o.set("ports", in.Ports)
	case *Volume:
		o.set("json", in.JSON)
		o.set("paths", in.Paths)
	case *StopSignal:
		o.set("signal", in.Signal)
	case *Shell:
		o.set("exec", in.Args)
	case *Maintainer:
		o.set("name", in.Name)
	default:
		panic(fmt.Sprintf("BUG: instruction %T", in))
	}
}

func describeCommand(o *object, c *Command) {
	if c.JSON {
		*o = append(*o, entry{"exec", append([]string{}, c.Args...)})
		return
	}
	*o = append(*o, entry{"shell", strings.Join(c.Args, "")})
}

func describeRun(o *object, r *Run) {
	var mounts, devices []object
	for _, m := range r.Mounts {
		var mo object
		for _, f := range m.fields {
			if f.hasValue {
				mo = append(mo, entry{f.key, f.value})
			} else {
				mo = append(mo, entry{f.key, true})
			}
		}
		mounts = append(mounts, mo)
	}
	for _, d := range r.Devices {
		do := object{{"name", d.Name}}
		do.set("required", d.Required)
		devices = append(devices, do)
	}
	o.set("mounts", mounts)
	if r.Network != "default" {
		o.set("network", r.Network)
	}
	if r.Security != "sandbox" {
		o.set("security", r.Security)
	}
	o.set("devices", devices)
	describeCommand(o, &r.Command)
	o.set("heredocs", describeHeredocs(r.Heredocs))
}

func describeHeredocs(docs []*Heredoc) []object {
	var list []object
	for _, h := range docs {
		o := object{{"name", h.Name}}
		o.set("fd", h.FD)
		o.set("expand", h.Expand)
		o.set("chomp", h.Chomp)
		list = append(list, append(o, entry{"content", h.Content}))
	}
	return list
}

func describePaths(o *object, p *Paths) {
	o.set("chown", p.Chown)
	o.set("chmod", p.Chmod)
	o.set("link", p.Link)
	o.set("exclude", p.Exclude)
	o.set("json", p.JSON)
	o.set("sources", p.Sources)
	o.set("files", describeHeredocs(p.Files))
	o.set("destination", p.Dest)
}

func describeArgs(a *Arg) []object {
	var list []object
	for _, d := range a.Args {
		o := object{{"name", d.Name}}
		if d.Default != nil {
			o = append(o, entry{"default", d.Default.Text})
		}
		list = append(list, o)
	}
	return list
}

func describePairs(pairs []Pair) []object {
	var list []object
	for _, p := range pairs {
		o := object{{"name", p.Key.Text}, {"value", p.Value.Text}}
		o.set("legacy", p.Legacy)
		list = append(list, o)
	}
	return list
}

func describeHealthcheck(o *object, h *Healthcheck) {
	if h.None {
		o.set("none", true)
		return
	}
	for _, d := range []entry{
		{"interval", h.Interval}, {"timeout", h.Timeout},
		{"startPeriod", h.StartPeriod}, {"startInterval", h.StartInterval},
	} {
		if s := fmt.Sprint(d.value); s != "0s" {
			o.set(d.name, s)
		}
	}
	o.set("retries", h.Retries)
	describeCommand(o, &h.Command)
}

// Tree is the syntax tree for people: one line an instruction, with its place, and its parts indented below it.
func (f *File) Tree() string {
	var b strings.Builder
	for _, e := range f.object(true) {
		switch v := e.value.(type) {
		case []object:
			for i, o := range v {
				if e.name == "args" {
					treeInstruction(&b, "", o)
					continue
				}
				treeStage(&b, i, o)
			}
		case object:
			for _, d := range v {
				fmt.Fprintf(&b, "# %s=%v\n", d.name, d.value)
			}
		}
	}
	return b.String()
}

func treeStage(b *strings.Builder, i int, o object) {
	fmt.Fprintf(b, "stage %d", i)
	for _, e := range o {
		if name, ok := e.value.(string); ok {
			fmt.Fprintf(b, " %q", name)
		}
	}
	b.WriteByte('\n')
	for _, e := range o {
		if list, ok := e.value.([]object); ok {
			for _, in := range list {
				treeInstruction(b, "  ", in)
			}
		}
	}
}

// treeInstruction prints the first four entries, which every instruction has, as its head line.
func treeInstruction(b *strings.Builder, indent string, o object) {
	fmt.Fprintf(b, "%s%d:%d %s\n", indent, o[1].value, o[2].value, o[0].value)
	treeEntries(b, indent+"  ", o[4:])
}

func treeEntries(b *strings.Builder, indent string, o object) {
	for _, e := range o {
		switch v := e.value.(type) {
		case object: // a trigger
			treeInstruction(b, indent, v)
		case []object:
			for _, part := range v {
				fmt.Fprintf(b, "%s%s\n", indent, strings.TrimSuffix(e.name, "s"))
				treeEntries(b, indent+"  ", part)
			}
		case []string:
			quoted := make([]string, len(v))
			for i, s := range v {
				quoted[i] = jsonString(s)
			}
			fmt.Fprintf(b, "%s%s: %s\n", indent, e.name, strings.Join(quoted, " "))
		case string:
			fmt.Fprintf(b, "%s%s: %s\n", indent, e.name, jsonString(v))
		default:
			fmt.Fprintf(b, "%s%s: %v\n", indent, e.name, v)
		}
	}
}
