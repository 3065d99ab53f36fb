package parser

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// givenFlag is one --name=value, quotes and escapes removed.
type givenFlag struct {
	name, value string
	hasValue    bool
	at          int // in the logical line
}

type flagKind int

const (
	boolFlag flagKind = iota
	stringFlag
	listFlag // may be given several times
)

type flagSpec struct {
	name string
	kind flagKind
}

// splitFlags takes the words that begin with -- off the front of logical[start:end]; "--" alone ends them. Within them
// quotes and escapes are removed here, and once more when their values are expanded: Docker does so.
func (b *builder) splitFlags(start, end int) (flags []givenFlag, rest int) {
	text := b.n.logical
	for {
		start = skipBlanks(text, start, end)
		if !strings.HasPrefix(text[start:end], "--") {
			return flags, start
		}
		word, next := b.flagWord(start, end)
		if word == "--" {
			return flags, skipBlanks(text, next, end)
		}
		f := givenFlag{at: start}
		f.name, f.value, f.hasValue = strings.Cut(word[2:], "=")
		flags = append(flags, f)
		start = next
	}
}

// flagWord reads one word from start on and removes its quotes and escapes.
func (b *builder) flagWord(start, end int) (word string, next int) {
	var out strings.Builder
	text, i := b.n.logical, start
	quote, quoteAt := rune(0), 0
	for i < end {
		r, size := utf8.DecodeRuneInString(text[i:end])
		switch {
		case quote == 0 && isBlank(text[i]):
			return out.String(), i
		case quote == 0 && (r == '\'' || r == '"'):
			quote, quoteAt = r, i
		case quote != 0 && r == quote:
			quote = 0
		case r == b.n.escape:
			i += size
			_, size = utf8.DecodeRuneInString(text[i:end])
			out.WriteString(text[i : i+size])
		default:
			out.WriteString(text[i : i+size])
		}
		i += size
	}
	if quote != 0 {
		b.fail(quoteAt, fmt.Sprintf("the quote %c is not closed", quote), "")
	}
	return out.String(), end
}

// checkFlags reports flags that specs do not allow, and repairs the value of boolean ones.
func (b *builder) checkFlags(flags []givenFlag, specs ...flagSpec) {
	seen := make(map[string]bool, len(flags))
	for i := range flags {
		f := &flags[i]
		spec, ok := findSpec(specs, f.name)
		switch {
		case !ok:
			b.fail(f.at, fmt.Sprintf("%s has no flag --%s", b.n.keyword, f.name), flagHint(f.name, b.n.keyword, specs))
		case seen[f.name] && spec.kind != listFlag:
			b.fail(f.at, fmt.Sprintf("the flag --%s is given twice", f.name), "")
		case spec.kind == boolFlag:
			b.checkBool(f)
		case !f.hasValue:
			b.fail(f.at, fmt.Sprintf("the flag --%s needs a value", f.name), fmt.Sprintf("--%s=VALUE", f.name))
		}
		seen[f.name] = true
	}
}

func (b *builder) checkBool(f *givenFlag) {
	switch v := strings.ToLower(f.value); {
	case !f.hasValue, v == "true":
		f.value = "true"
	case v == "false":
		f.value = v
	default:
		b.fail(f.at, fmt.Sprintf("the flag --%s is true or false, not %q", f.name, f.value), "")
	}
}

func findSpec(specs []flagSpec, name string) (flagSpec, bool) {
	for _, s := range specs {
		if s.name == name {
			return s, true
		}
	}
	return flagSpec{}, false
}

func flagHint(name, keyword string, specs []flagSpec) string {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.name
	}
	switch m := nearest(name, names); {
	case m != "":
		return "did you mean --" + m + "?"
	case len(names) == 0:
		return keyword + " takes no flags"
	}
	return keyword + " takes --" + strings.Join(names, ", --")
}

// flagValue gives the value of the flag called name, or an empty Word.
func (b *builder) flagValue(flags []givenFlag, name string) Word {
	for _, f := range flags {
		if f.name == name && f.hasValue {
			return b.valueWord(f)
		}
	}
	return Word{off: -1}
}

func (b *builder) flagValues(flags []givenFlag, name string) []Word {
	var words []Word
	for _, f := range flags {
		if f.name == name && f.hasValue {
			words = append(words, b.valueWord(f))
		}
	}
	return words
}

// valueWord has the place of the value if the flag is written plainly, else that of the flag.
func (b *builder) valueWord(f givenFlag) Word {
	at := f.at + len("--") + len(f.name) + len("=")
	if strings.HasPrefix(b.n.logical[f.at:], "--"+f.name+"="+f.value) {
		return Word{Text: f.value, Pos: b.n.posAt(at), off: at}
	}
	return Word{Text: f.value, Pos: b.n.posAt(f.at), off: -1}
}

// flagBool gives a boolean flag, nil if it is not there.
func flagBool(flags []givenFlag, name string) *bool {
	for _, f := range flags {
		if f.name == name {
			v := f.value == "true"
			return &v
		}
	}
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }
