package parser

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CheckOptions say what Check may assume. The zero value assumes nothing about base images.
type CheckOptions struct {
	// BaseEnv gives the names of the variables that an image sets, for a FROM as written; ok is false if they are not
	// known. Of unknown images only those variables are reported that are likely mistakes.
	BaseEnv func(ref string) (names []string, ok bool)
	// Skip names rules not to be run, "all" for every one, in addition to the file's own check directive.
	Skip []string
}

// A Warning is what Check found: valid, but likely not meant.
type Warning struct {
	Rule string // the name of the build check in Docker's documentation
	Pos  Pos
	Msg  string
	Hint string
}

// DirectiveOptions is what a check directive says: "skip=RULE,RULE;experimental=RULE;error=true".
type DirectiveOptions struct {
	Skip         []string // rules, or "all"
	Experimental []string // rules that are off by default, or "all"
	Error        bool     // a warning fails the build
}

// ParseCheckOptions reads the value of a check directive, of which the first word counts.
func ParseCheckOptions(value string) (DirectiveOptions, error) {
	var o DirectiveOptions
	value, _, _ = strings.Cut(strings.TrimSpace(value), " ")
	if value == "" {
		return o, nil
	}
	for _, part := range strings.Split(value, ";") {
		name, list, ok := strings.Cut(part, "=")
		switch name = strings.TrimSpace(name); {
		case !ok:
			return o, fmt.Errorf("check option %q has no value", shorten(part))
		case name == "skip":
			o.Skip = splitList(list)
		case name == "experimental":
			o.Experimental = splitList(list)
		case name == "error":
			on, err := strconv.ParseBool(strings.TrimSpace(list))
			if err != nil {
				return o, fmt.Errorf("check option error is true or false, not %q", shorten(list))
			}
			o.Error = on
		default:
			return o, fmt.Errorf("there is no check option %q", shorten(name))
		}
	}
	return o, nil
}

func splitList(s string) []string {
	list := strings.Split(s, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// checker collects warnings.
type checker struct {
	file     *File
	opts     CheckOptions
	own      DirectiveOptions
	warnings []Warning
	stages   map[string]*scope // by name, of those already seen
	scopes   []*scope          // by index
	globals  map[string]string // ARGs before FROM with the default's value
}

// Check runs the build checks on f, as the reference names them. Warnings are in order of position. fail is true if the
// file's check directive turns warnings into errors, and there is one. A comment "check=skip=RULE" just above an
// instruction counts for that instruction. CopyIgnoredFile needs the context, InvalidBaseImagePlatform the registry: they
// are not run here.
func Check(f *File, opts CheckOptions) (warnings []Warning, fail bool) {
	c := &checker{file: f, opts: opts, stages: map[string]*scope{}, globals: map[string]string{}}
	c.own, _ = ParseCheckOptions(f.Directives.Check.Value) // Parse has seen it
	for _, pos := range f.emptyAt {
		c.warn(nil, "NoEmptyContinuation", pos, "the instruction goes on below an empty line", "an empty line may end it in a future version; remove it, or make it a comment")
	}
	c.casing()
	for _, a := range f.MetaArgs {
		c.metaArg(a)
	}
	for _, s := range f.Stages {
		c.stage(s)
	}
	slices.SortStableFunc(c.warnings, func(a, b Warning) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Column - b.Pos.Column
	})
	return c.warnings, c.own.Error && len(c.warnings) > 0
}

// warn adds a warning, unless the rule is not to be run for the instruction.
func (c *checker) warn(n *node, rule string, pos Pos, msg, hint string) {
	skip := append(slices.Clone(c.opts.Skip), c.own.Skip...)
	if n != nil {
		skip = append(skip, skippedAbove(n.comments)...)
	}
	if !slices.Contains(skip, rule) && !slices.Contains(skip, "all") {
		c.warnings = append(c.warnings, Warning{rule, pos, msg, hint})
	}
}

// skippedAbove reads "check=skip=..." in the comments above an instruction.
func skippedAbove(comments []string) []string {
	for _, text := range comments {
		if name, value, _ := splitDirective("#" + text); name == "check" {
			o, _ := ParseCheckOptions(value)
			return o.Skip
		}
	}
	return nil
}

// casing is ConsistentInstructionCasing: all keywords in capitals or all in small letters, as most of them are.
func (c *checker) casing() {
	lower, upper := 0, 0
	count := func(in Instruction) {
		switch w := in.common().written; w {
		case strings.ToLower(w):
			lower++
		case strings.ToUpper(w):
			upper++
		}
	}
	check := func(in Instruction) {
		n := in.common()
		want := strings.ToUpper(n.written)
		if lower > upper {
			want = strings.ToLower(n.written)
		}
		if n.written != want {
			c.warn(n, "ConsistentInstructionCasing", n.Pos(), fmt.Sprintf("the keyword %s is cased unlike most others", n.written), "write "+want)
		}
	}
	for _, visit := range []func(Instruction){count, check} {
		for _, s := range c.file.Stages {
			visit(s.From)
			for _, in := range s.Instructions {
				visit(in)
			}
		}
	}
}

// metaArg notes an ARG before the first FROM.
func (c *checker) metaArg(a *Arg) {
	c.describes(a.node, a.names())
	for i := range a.Args {
		def := &a.Args[i]
		c.secret(a.node, def.Name, def.Pos)
		value, _, _, _ := def.Value(c.global)
		c.globals[def.Name] = value
	}
}

// platformArgs are the predefined ARGs about platforms, which FROM always knows.
func platformArgs() []string {
	return []string{
		"TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE",
		"BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT",
	}
}

// global looks up what FROM may use.
func (c *checker) global(name string) (string, bool) {
	if v, ok := c.globals[name]; ok {
		return v, true
	}
	switch {
	case !slices.Contains(platformArgs(), name):
		return "", false
	case strings.HasSuffix(name, "OS"):
		return "linux", true
	case strings.HasSuffix(name, "PLATFORM"):
		return "linux/amd64", true
	case strings.HasSuffix(name, "ARCH"):
		return "amd64", true
	case name == "TARGETSTAGE":
		return "default", true
	}
	return "", true
}

// globalNames are all names global knows.
func (c *checker) globalNames() []string {
	names := platformArgs()
	for n := range c.globals {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// secret is SecretsUsedInArgOrEnv.
func (c *checker) secret(n *node, name string, pos Pos) {
	secret, allowed := false, false
	for _, part := range strings.Split(strings.ToLower(name), "_") {
		switch part {
		case "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token":
			secret = true
		case "public", "file", "version":
			allowed = true
		}
	}
	if secret && !allowed {
		c.warn(n, "SecretsUsedInArgOrEnv", pos, fmt.Sprintf("%s %s looks like a secret, and stays in the image", n.keyword, name), "use RUN --mount=type=secret")
	}
}
