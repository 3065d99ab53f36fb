package parser

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

func (b *builder) from(flags []givenFlag, start, end int) *From {
	b.checkFlags(flags, flagSpec{"platform", stringFlag})
	f := &From{Platform: b.flagValue(flags, "platform"), AsWord: Word{off: -1}}
	words := b.n.splitBlanks(start, end)
	switch {
	case len(words) == 0:
		b.fail(start, "FROM needs an image", "FROM IMAGE [AS NAME]; FROM scratch begins with nothing")
		return nil
	case len(words) == 3 && strings.EqualFold(words[1].Text, "as"):
		f.AsWord, f.asKeyword = words[2], words[1].Text
		f.As = strings.ToLower(words[2].Text)
		if !validStageName(f.As) {
			b.failAt(words[2].Pos, fmt.Sprintf("%q cannot name a stage", shorten(words[2].Text)),
				"a letter, then letters, digits, '-', '_' and '.'")
		}
	case len(words) > 1:
		hint := "FROM IMAGE [AS NAME]"
		if strings.HasPrefix(words[1].Text, "#") {
			hint = "a comment needs a line of its own"
		}
		b.failAt(words[1].Pos, fmt.Sprintf("FROM takes an image and AS NAME, not %q", shorten(words[1].Text)), hint)
	}
	f.Image, f.node = words[0], b.n
	return f
}

func validStageName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !isDigit(c) && c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return s != ""
}

func (b *builder) arg(start, end int) *Arg {
	words := b.n.splitQuoted(start, end)
	if len(words) == 0 {
		b.fail(start, "ARG needs a name", "ARG NAME[=DEFAULT]")
	}
	args := make([]ArgDef, len(words))
	for i, w := range words {
		name, _, hasDefault := strings.Cut(w.Text, "=")
		if name == "" {
			b.failAt(w.Pos, "the name before = is empty", "")
		}
		args[i] = ArgDef{Name: name, Pos: w.Pos, owner: b.n}
		if hasDefault {
			d := b.n.word(w.off+len(name)+1, w.off+len(w.Text))
			args[i].Default = &d
		}
	}
	return &Arg{node: b.n, Args: args}
}

// pairs reads NAME=VALUE..., or the old NAME VALUE if the first word holds no "=".
func (b *builder) pairs(start, end int) []Pair {
	words := b.n.splitQuoted(start, end)
	usage := b.n.keyword + " NAME=VALUE..."
	if len(words) == 0 {
		b.fail(start, b.n.keyword+" needs a name and a value", usage)
		return nil
	}
	if !strings.Contains(words[0].Text, "=") {
		return b.legacyPair(start, end, usage)
	}
	pairs := make([]Pair, 0, len(words))
	for _, w := range words {
		name, _, ok := strings.Cut(w.Text, "=")
		switch {
		case !ok:
			b.failAt(w.Pos, fmt.Sprintf("%q is not of the form NAME=VALUE", shorten(w.Text)), b.pairHint(pairs))
		case name == "":
			b.failAt(w.Pos, "the name before = is empty", usage)
		}
		if ok {
			at := w.off + len(name)
			pairs = append(pairs, Pair{Key: b.n.word(w.off, at), Value: b.n.word(at+1, w.off+len(w.Text))})
		}
	}
	return pairs
}

func (b *builder) pairHint(before []Pair) string {
	if len(before) > 0 {
		return "a value with blanks needs quotes: " + before[len(before)-1].Key.Text + `="..."`
	}
	return ""
}

func (b *builder) legacyPair(start, end int, usage string) []Pair {
	i := start
	for i < end && !isBlank(b.n.logical[i]) {
		i++
	}
	v := skipBlanks(b.n.logical, i, end)
	if v == end {
		b.fail(start, fmt.Sprintf("%s %s has no value", b.n.keyword, shorten(b.n.logical[start:end])), usage)
		return nil
	}
	return []Pair{{Key: b.n.word(start, i), Value: b.n.word(v, end), Legacy: true, gap: b.n.logical[i:v]}}
}

func (b *builder) expose(start, end int) *Expose {
	words := b.n.splitBlanks(start, end)
	if len(words) == 0 {
		b.fail(start, "EXPOSE needs a port", "EXPOSE PORT[/PROTOCOL]...")
	}
	for _, w := range words {
		if strings.ContainsAny(w.Text, "$'\"\\`") {
			continue // known after substitution only
		}
		if _, err := ParsePort(w.Text); err != nil {
			b.failAt(w.Pos, err.Error(), "")
		}
	}
	return &Expose{node: b.n, Ports: words}
}

func (b *builder) volume(start, end int) *Volume {
	words, isJSON, ok := b.list(start, end)
	if ok && len(words) == 0 {
		b.fail(start, "VOLUME needs a path", "")
	}
	for i, w := range words {
		words[i].Text = strings.TrimSpace(w.Text)
		if words[i].Text == "" {
			b.failAt(w.Pos, "the path of a VOLUME is empty", "")
		}
	}
	return &Volume{node: b.n, JSON: isJSON, Paths: words}
}

func (b *builder) shell(start, end int) *Shell {
	words, ok, bad := b.n.jsonWords(start, end)
	switch {
	case bad:
		b.fail(start, "the JSON array holds something else than strings", "")
	case start == end, ok && len(words) == 0:
		b.fail(start, "SHELL needs a program", `SHELL ["PROGRAM", "ARG"...]`)
	case !ok:
		b.fail(start, "SHELL takes a JSON array only", `SHELL ["PROGRAM", "ARG"...]`)
	}
	return &Shell{node: b.n, Args: words}
}

func (b *builder) healthcheck(flags []givenFlag, start, end int) *Healthcheck {
	b.checkFlags(flags, flagSpec{"interval", stringFlag}, flagSpec{"timeout", stringFlag},
		flagSpec{"start-period", stringFlag}, flagSpec{"start-interval", stringFlag}, flagSpec{"retries", stringFlag})
	i := start
	for i < end && !isBlank(b.n.logical[i]) {
		i++
	}
	kind, rest := b.n.logical[start:i], skipSpace(b.n.logical, i, end)
	h := &Healthcheck{node: b.n}
	switch strings.ToUpper(kind) {
	case "":
		b.fail(start, "HEALTHCHECK needs CMD or NONE", "")
	case "NONE":
		h.None = true
		if rest < end {
			b.fail(rest, "HEALTHCHECK NONE takes no arguments", "")
		}
		if len(flags) > 0 {
			b.fail(flags[0].at, "HEALTHCHECK NONE takes no flags", "")
		}
	case "CMD":
		h.Command = b.command(rest, end)
		if len(h.Args) == 0 && !b.failed {
			b.fail(i, "HEALTHCHECK CMD needs a command", "")
		}
	default:
		b.fail(start, fmt.Sprintf("HEALTHCHECK takes CMD or NONE, not %q", shorten(kind)), "HEALTHCHECK CMD "+shorten(b.n.logical[start:end]))
	}
	h.Interval = b.duration(flags, "interval")
	h.Timeout = b.duration(flags, "timeout")
	h.StartPeriod = b.duration(flags, "start-period")
	h.StartInterval = b.duration(flags, "start-interval")
	h.Retries = b.retries(flags)
	return h
}

func (b *builder) duration(flags []givenFlag, name string) time.Duration {
	w := b.flagValue(flags, name)
	if w.Text == "" {
		return 0
	}
	d, err := time.ParseDuration(w.Text)
	switch {
	case err != nil:
		b.failAt(w.Pos, fmt.Sprintf("--%s: %q is not a duration", name, shorten(w.Text)), "such as 30s, 1m30s or 500ms")
	case d != 0 && d < time.Millisecond:
		b.failAt(w.Pos, fmt.Sprintf("--%s: %s is less than 1ms", name, w.Text), "")
	}
	return d
}

func (b *builder) retries(flags []givenFlag) int {
	w := b.flagValue(flags, "retries")
	if w.Text == "" {
		return 0
	}
	n, err := strconv.ParseInt(w.Text, 10, 32)
	if err != nil || n < 0 {
		b.failAt(w.Pos, fmt.Sprintf("--retries: %q is not a number from 0", shorten(w.Text)), "")
	}
	return int(n)
}

func (b *builder) onbuild(start, end int) *Onbuild {
	if start == end {
		b.fail(start, "ONBUILD needs an instruction", "")
		return nil
	}
	t := *b.n
	t.logical, t.comments = b.n.logical[start:end], nil
	t.pieces = shiftPieces(b.n, start)
	t.start = b.n.offAt(start)
	sub := &builder{p: b.p, n: &t, in: "ONBUILD"}
	word, _, _ := t.splitKeyword()
	switch k := strings.ToUpper(word); k {
	case "ONBUILD", "FROM", "MAINTAINER":
		b.fail(start, k+" cannot be an ONBUILD trigger", "")
		return nil
	}
	trigger := sub.build()
	b.n.end = t.end
	b.p.finish(&t)
	if sub.failed {
		b.failed = true
		return nil
	}
	text := t.logical
	for _, h := range heredocsOf(trigger) {
		text += "\n" + h.Content + h.Name
	}
	return &Onbuild{node: b.n, Text: text, Trigger: trigger}
}

// ParsePort reads a word of EXPOSE, after expansion, and gives the ports as image configurations name them: "80/tcp".
// Ranges give several; addresses and host ports are accepted and dropped, as Docker does.
func ParsePort(word string) ([]string, error) {
	host, port, protocol := splitPort(word)
	switch strings.ToLower(protocol) {
	case "":
		protocol = "tcp"
	case "tcp", "udp", "sctp":
		protocol = strings.ToLower(protocol)
	default:
		return nil, fmt.Errorf("port %q: the protocol is tcp, udp or sctp", shorten(word))
	}
	lo, hi, ok := portRange(port)
	if !ok {
		return nil, fmt.Errorf("port %q: not a number from 0 to 65535, nor a range of two", shorten(word))
	}
	if err := checkHost(host, lo, hi); err != "" {
		return nil, fmt.Errorf("port %q: %s", shorten(word), err)
	}
	ports := make([]string, 0, hi-lo+1)
	for p := lo; p <= hi; p++ {
		ports = append(ports, strconv.FormatUint(p, 10)+"/"+protocol)
	}
	return ports, nil
}

// splitPort cuts [ADDRESS:[HOSTPORT:]]PORT[/PROTOCOL].
func splitPort(word string) (host, port, protocol string) {
	if i := strings.LastIndexByte(word, ':'); i >= 0 {
		host, word = word[:i], word[i+1:]
	}
	port, protocol, _ = strings.Cut(word, "/")
	return host, port, protocol
}

// portRange reads N or N-M.
func portRange(s string) (lo, hi uint64, ok bool) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	lo, err1 := strconv.ParseUint(first, 10, 16)
	hi, err2 := strconv.ParseUint(last, 10, 16)
	return lo, hi, err1 == nil && err2 == nil && lo <= hi
}

// checkHost looks at what stands before a port: HOSTPORT, or ADDRESS:[HOSTPORT]. It says what is wrong with it.
func checkHost(host string, lo, hi uint64) string {
	if host == "" {
		return ""
	}
	address, port := "", host
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		address, port = strings.Trim(host[:i], "[]"), host[i+1:]
	}
	if _, err := netip.ParseAddr(address); address != "" && err != nil {
		return "the address before it is none"
	}
	hostLo, hostHi, ok := portRange(port)
	switch {
	case port == "":
	case !ok:
		return "the host port before it is none"
	case hi != lo && hi-lo != hostHi-hostLo:
		return "the two ranges differ in length"
	}
	return ""
}
