package fakeroot

import (
	"fmt"
	"slices"
	"strings"
)

// Injection inserts arguments after a command word in RUN (--force-cmd).
type Injection struct {
	Command string
	Args    []string
}

// ParseInjection reads a value of --force-cmd: CMD,ARG[,ARG...], where "\,"
// is a comma that does not separate.
func ParseInjection(s string) (Injection, error) {
	words := splitCommas(s)
	if words[0] == "" {
		return Injection{}, fmt.Errorf("parse command to inject into %q: no command before the first comma", s)
	}
	if len(words) < 2 {
		return Injection{}, fmt.Errorf("parse command to inject into %q: no argument; use CMD,ARG[,ARG...]", s)
	}
	return Injection{Command: words[0], Args: words[1:]}, nil
}

// splitCommas splits at commas that no backslash precedes; it returns at
// least one word.
func splitCommas(s string) []string {
	words := []string{""}
	for i := 0; i < len(s); i++ {
		last := len(words) - 1
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == ',':
			i++
			words[last] += ","
		case s[i] == ',':
			words = append(words, "")
		default:
			words[last] += s[i : i+1]
		}
	}
	return words
}

// DefaultInjections are those of [ModePlain]: apt verifies that its setuid(2)
// had an effect, so its sandbox must be turned off.
func DefaultInjections() []Injection {
	args := []string{"-o", "APT::Sandbox::User=root"}
	return []Injection{{"apt", args}, {"apt-get", args}}
}

// InjectShell edits the text of a shell command: args are inserted after each
// word that equals a command. It reports whether anything changed. It knows no
// shell syntax but where words end: quotes and here-documents are edited too.
func InjectShell(text string, in []Injection) (string, bool) {
	var out strings.Builder
	changed := false
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && !breaksWord(text[end]) {
			end++
		}
		word := text[i:end]
		out.WriteString(word)
		if k := slices.IndexFunc(in, func(x Injection) bool { return x.Command == word }); k >= 0 && word != "" {
			for _, a := range in[k].Args {
				out.WriteString(" " + shellQuote(a))
			}
			changed = true
		}
		if end < len(text) {
			out.WriteByte(text[end])
			end++
		}
		i = end
	}
	return out.String(), changed
}

// breaksWord tells the bytes that end a command word in a shell.
func breaksWord(c byte) bool { return strings.IndexByte(" \t\n;|&()<>`{}", c) >= 0 }

// shellQuote makes one shell word of s.
func shellQuote(s string) string {
	plain := s != ""
	for _, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("-_=+:,./@%^", c) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// InjectExec does the same with an argument list (RUN's exec form): args are
// inserted after the elements that equal a command.
func InjectExec(argv []string, in []Injection) ([]string, bool) {
	var out []string
	for _, a := range argv {
		out = append(out, a)
		if k := slices.IndexFunc(in, func(x Injection) bool { return x.Command == a }); k >= 0 {
			out = append(out, in[k].Args...)
		}
	}
	return out, len(out) != len(argv)
}
