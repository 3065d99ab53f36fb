package parser

import (
	"fmt"
	"slices"
	"strings"
)

// scope is what is known of a stage while its instructions are checked.
type scope struct {
	names      []string // variables that are set or declared
	complete   bool     // names holds all of them: the base image's are known
	workdirSet bool
	shellSet   bool
	last       map[string]Instruction // CMD, ENTRYPOINT, HEALTHCHECK
}

// stage checks one stage.
func (c *checker) stage(s *Stage) {
	c.from(s.From)
	sc := c.scopeOf(s.From)
	for _, in := range s.Instructions {
		c.variables(sc, in)
		c.instruction(sc, in)
	}
	c.scopes = append(c.scopes, sc)
	if s.From.As != "" {
		c.stages[s.From.As] = sc
	}
}

// scopeOf is the scope in which the stage's first instruction stands.
func (c *checker) scopeOf(f *From) *scope {
	sc := &scope{last: map[string]Instruction{}}
	ref, _, _ := expandText(f.Image.Text, f.escape, c.global)
	if base := c.stages[strings.ToLower(ref)]; base != nil {
		sc.names, sc.complete = slices.Clone(base.names), base.complete
		sc.workdirSet, sc.shellSet = base.workdirSet, base.shellSet
		return sc
	}
	sc.names = []string{"PATH"}
	sc.complete = ref == "scratch"
	if !sc.complete && c.opts.BaseEnv != nil {
		names, ok := c.opts.BaseEnv(ref)
		sc.names, sc.complete = append(sc.names, names...), ok
	}
	return sc
}

// from checks a FROM.
func (c *checker) from(f *From) {
	n := f.node
	if f.As != f.AsWord.Text {
		c.warn(n, "StageNameCasing", f.AsWord.Pos, fmt.Sprintf("the stage name %q is not in small letters", f.AsWord.Text), "write "+f.As)
	}
	if k := f.asKeyword; k != "" {
		if n.written == strings.ToLower(n.written) && k != strings.ToLower(k) || n.written == n.keyword && k != "AS" {
			c.warn(n, "FromAsCasing", n.Pos(), fmt.Sprintf("%s and %s are cased differently", n.written, k), "")
		}
	}
	if f.As == "context" || f.As == "scratch" {
		c.warn(n, "ReservedStageName", f.AsWord.Pos, fmt.Sprintf("the stage name %q has a meaning of its own", f.As), "")
	}
	if f.As != "" && c.stages[f.As] != nil {
		c.warn(n, "DuplicateStageName", f.AsWord.Pos, fmt.Sprintf("there is a stage %q above already", f.As), "the name means the last stage so called")
	}
	c.describes(n, []string{f.As})
	for _, w := range []Word{f.Image, f.Platform} {
		_, unset, _ := expandText(w.Text, n.escape, c.global)
		for _, name := range unset {
			c.warn(n, "UndefinedArgInFrom", w.Pos, fmt.Sprintf("no ARG before the first FROM declares %s", name), didYouMean(name, c.globalNames()))
		}
	}
	c.defaultImage(f)
	c.platform(f)
}

// defaultImage is InvalidDefaultArgInFrom: without build arguments, the image must still be a possible one.
func (c *checker) defaultImage(f *From) {
	if !strings.Contains(f.Image.Text, "$") {
		return
	}
	ref, unset, err := expandText(f.Image.Text, f.escape, c.global)
	if err == nil && unset == nil && c.stages[ref] == nil && !validReference(ref) {
		c.warn(f.node, "InvalidDefaultArgInFrom", f.Image.Pos, fmt.Sprintf("with the defaults of its ARGs, the image %s is %q, which is none", f.Image.Text, shorten(ref)), "give the ARG a default")
	}
}

// platform is RedundantTargetPlatform and FromPlatformFlagConstDisallowed.
func (c *checker) platform(f *From) {
	switch text := f.Platform.Text; {
	case text == "":
	case text == "$TARGETPLATFORM" || text == "${TARGETPLATFORM}":
		c.warn(f.node, "RedundantTargetPlatform", f.Platform.Pos, text+" is the platform without the flag too", "")
	case !strings.Contains(text, "$"):
		for _, part := range strings.SplitN(text, "/", 3)[:min(2, strings.Count(text, "/")+1)] {
			if strings.Contains(f.As, part) {
				return
			}
		}
		c.warn(f.node, "FromPlatformFlagConstDisallowed", f.Platform.Pos, fmt.Sprintf("the platform %q is fixed, so the file builds for no other", text), "use $BUILDPLATFORM or the --platform option, or name the stage after the platform")
	}
}

// describes is the experimental InvalidDefinitionDescription: a comment just above a definition begins with its name.
func (c *checker) describes(n *node, names []string) {
	const rule = "InvalidDefinitionDescription"
	on := slices.Contains(c.own.Experimental, rule) || slices.Contains(c.own.Experimental, "all")
	if !on || len(n.comments) == 0 || names[0] == "" {
		return
	}
	first, _, _ := strings.Cut(n.comments[len(n.comments)-1], " ")
	if !slices.Contains(names, first) {
		c.warn(n, rule, n.Pos(), "the comment above does not begin with the name it describes", "# "+names[0]+" DESCRIPTION; or put an empty comment in between")
	}
}

// instruction checks one instruction, and notes what it defines.
func (c *checker) instruction(sc *scope, in Instruction) {
	n := in.common()
	switch in := in.(type) {
	case *Arg:
		for _, a := range in.Args {
			c.secret(n, a.Name, a.Pos)
		}
		c.describes(n, in.names())
		sc.names = append(sc.names, in.names()...)
	case *Env:
		c.legacy(n, in.Pairs)
		for _, p := range in.Pairs {
			c.secret(n, p.Key.Text, p.Key.Pos)
			sc.names = append(sc.names, p.Key.Text)
		}
	case *Label:
		c.legacy(n, in.Pairs)
	case *Workdir:
		if !sc.workdirSet && !maybeAbsolute(in.Path.Text) {
			c.warn(n, "WorkdirRelativePath", in.Path.Pos, fmt.Sprintf("the relative path %q depends on the base image's working directory", in.Path.Text), "give an absolute path first")
		}
		sc.workdirSet = true
	case *Cmd:
		c.once(sc, in)
		c.jsonArgs(sc, n, &in.Command)
	case *Entrypoint:
		c.once(sc, in)
		c.jsonArgs(sc, n, &in.Command)
	case *Healthcheck:
		c.once(sc, in)
	case *Shell:
		sc.shellSet = true
	case *Expose:
		c.ports(n, in.Ports)
	case *Maintainer:
		c.warn(n, "MaintainerDeprecated", n.Pos(), "MAINTAINER is out of use", "LABEL org.opencontainers.image.authors="+jsonString(in.Name))
	}
}

// names are the variables the instruction declares.
func (i *Arg) names() []string {
	names := make([]string, len(i.Args))
	for k, a := range i.Args {
		names[k] = a.Name
	}
	return names
}

// maybeAbsolute tells whether a path is absolute, on Windows too, or may be so once its variables are replaced.
func maybeAbsolute(path string) bool {
	path = strings.TrimLeft(path, `"'`)
	return path != "" && strings.IndexByte("/$\\", path[0]) >= 0 || len(path) > 1 && path[1] == ':'
}

func (c *checker) legacy(n *node, pairs []Pair) {
	if len(pairs) > 0 && pairs[0].Legacy {
		c.warn(n, "LegacyKeyValueFormat", n.Pos(), fmt.Sprintf("%s NAME VALUE is the old form", n.keyword), fmt.Sprintf("write %s %s=VALUE", n.keyword, pairs[0].Key.Text))
	}
}

// once is MultipleInstructionsDisallowed. It is the earlier instruction that is in vain.
func (c *checker) once(sc *scope, in Instruction) {
	k := in.Keyword()
	if before := sc.last[k]; before != nil {
		c.warn(before.common(), "MultipleInstructionsDisallowed", before.Pos(), fmt.Sprintf("this %s has no effect: line %d replaces it", k, in.Pos().Line), "")
	}
	sc.last[k] = in
}

func (c *checker) jsonArgs(sc *scope, n *node, cmd *Command) {
	if !cmd.JSON && len(cmd.Args) > 0 && !sc.shellSet {
		c.warn(n, "JSONArgsRecommended", n.Pos(), n.keyword+" runs a shell, which does not pass signals on", fmt.Sprintf(`%s ["PROGRAM", "ARG"...]; or choose the shell with SHELL`, n.keyword))
	}
}

func (c *checker) ports(n *node, ports []Word) {
	for _, w := range ports {
		host, _, protocol := splitPort(w.Text)
		if strings.ContainsAny(w.Text, "$'\"") {
			continue
		}
		if protocol != strings.ToLower(protocol) {
			c.warn(n, "ExposeProtoCasing", w.Pos, fmt.Sprintf("the protocol of %s is not in small letters", w.Text), "")
		}
		if host != "" {
			c.warn(n, "ExposeInvalidFormat", w.Pos, fmt.Sprintf("EXPOSE takes no address and no host port: %s", w.Text), "they are given when the image is run")
		}
	}
}

// variables is UndefinedVar.
func (c *checker) variables(sc *scope, in Instruction) {
	known := sc.names
	lookup := func(name string) (string, bool) { return "x", slices.Contains(known, name) }
	var unset []string
	report := func(pos Pos, names []string) {
		for _, name := range names {
			if slices.Contains(unset, name) {
				continue
			}
			unset = append(unset, name)
			c.undefined(sc, in.common(), name, pos)
		}
	}
	if a, ok := in.(*Arg); ok {
		for i := range a.Args {
			if a.Args[i].Default != nil {
				_, _, names, _ := a.Args[i].Value(lookup)
				report(a.Args[i].Default.Pos, names)
			}
			known = append(known, a.Args[i].Name)
		}
		return
	}
	for _, w := range expandable(in) {
		_, names, _ := expandText(w.Text, in.common().escape, lookup)
		report(w.Pos, names)
	}
	if _, ok := in.(*Onbuild); ok {
		return
	}
	for _, h := range heredocsOf(in) {
		if _, isRun := in.(*Run); !isRun && h.Expand {
			_, names, _ := ExpandText(h.Body(), lookup)
			report(h.Pos, names)
		}
	}
}

// undefined reports a name, if it is sure or likely that nothing sets it.
func (c *checker) undefined(sc *scope, n *node, name string, pos Pos) {
	hint := ""
	changes := 2
	if !sc.complete {
		changes = 1 // the base image may set what looks a little like it
	}
	if m := nearestWithin(name, sc.names, changes); m != "" {
		hint = "did you mean " + m + "?"
	}
	if _, ok := c.global(name); ok {
		hint = fmt.Sprintf("declare it in this stage: ARG %s", name)
	}
	if hint != "" || sc.complete {
		c.warn(n, "UndefinedVar", pos, fmt.Sprintf("the variable %s is not defined", name), hint)
	}
}

// expandable gives the words that Expand replaces.
func expandable(in Instruction) []Word {
	var words []Word
	switch in := in.(type) {
	case *Run:
		for _, m := range in.Mounts {
			for _, f := range m.fields {
				words = append(words, Word{Text: f.value, Pos: in.mountPos(m, f)})
			}
		}
	case *Copy:
		words = append(append(words, in.Chown, in.Chmod), in.Sources...)
		words = append(words, in.Dest)
	case *Add:
		words = append(append(words, in.Chown, in.Chmod, in.Checksum), in.Sources...)
		words = append(words, in.Dest)
	case *Env:
		words = pairWords(in.Pairs)
	case *Label:
		words = pairWords(in.Pairs)
	case *Workdir:
		words = []Word{in.Path}
	case *User:
		words = []Word{in.Name}
	case *Expose:
		words = in.Ports
	case *Volume:
		words = in.Paths
	case *StopSignal:
		words = []Word{in.Signal}
	case *Rsync:
		words = append(append(slices.Clone(in.Options), in.Sources...), in.Dest)
	}
	return words
}

func pairWords(pairs []Pair) []Word {
	var words []Word
	for _, p := range pairs {
		words = append(words, p.Key, p.Value)
	}
	return words
}

// validReference tells whether s can be an image reference: [HOST[:PORT]/]PATH[:TAG][@DIGEST], the path in small letters.
func validReference(s string) bool {
	s, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest && (digest == "" || !strings.Contains(digest, ":")) {
		return false
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		if tag := s[i+1:]; tag == "" || strings.ContainsFunc(tag, notTag) || tag[0] == '.' || tag[0] == '-' {
			return false
		}
		s = s[:i]
	}
	parts := strings.Split(s, "/")
	if len(parts) > 1 && (strings.ContainsAny(parts[0], ".:") || parts[0] == "localhost") {
		parts = parts[1:]
	}
	for _, p := range parts {
		alnum := func(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' }
		if p == "" || !alnum(p[0]) || !alnum(p[len(p)-1]) || strings.ContainsFunc(p, notPath) {
			return false
		}
	}
	return true
}

func notPath(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r))
}

func notTag(r rune) bool { return notPath(r) && !('A' <= r && r <= 'Z') }
