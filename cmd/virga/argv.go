package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// invocation is a command line as urfave/cli reads it.
type invocation struct {
	argv    []string     // PROGRAM, global options, COMMAND, its options, "--", arguments
	command *cli.Command // nil: none
	help    bool         // --help was given; it is not in argv
}

// normalize brings a command line in the GNU manner into the strict order that
// urfave/cli reads, each option as --NAME=VALUE under its first name.
//
// Options may stand anywhere, global ones after the command and a command's
// before it; short ones combine and take attached values (-vtapp); "--" ends
// them. For commands that run a program, the first argument ends them too, and
// one "--" directly after it is dropped. An option that both the command and
// the program as a whole have is global before the command, else the command's.
//
// args[0] is the program's name. The errors are usage errors.
func normalize(app *cli.App, args []string) (invocation, error) {
	n := &normalizer{app: app, global: newOptionTable(app.Flags), rest: args[1:]}
	for len(n.rest) > 0 {
		if err := n.next(); err != nil {
			return invocation{}, err
		}
	}
	in := invocation{argv: append([]string{args[0]}, n.globals...), command: n.command, help: n.help}
	if n.command == nil {
		if len(n.early) > 0 {
			return invocation{}, n.unknown(n.early[0].shown)
		}
		return in, nil
	}
	in.argv = append(in.argv, n.command.Name)
	in.argv = append(in.argv, n.options...)
	in.argv = append(in.argv, "--")
	in.argv = append(in.argv, n.arguments...)
	return in, nil
}

// takesProgram reports whether the first argument of the command ends its
// options, because what follows is a program's own command line.
func takesProgram(c *cli.Command) bool { return c.Name == "run" || c.Name == "shell" }

// helpOption is answered before urfave/cli, which has its own ideas about an
// option of this name, sees the command line.
const helpOption = "help"

// option is a definition as the normalizer needs it.
type option struct {
	name    string // first name
	arity   arity
	implied string
	values  []string // all that there are; nil: no limit
	flag    cli.Flag
}

type optionTable map[string]option

func newOptionTable(flags []cli.Flag) optionTable {
	t := optionTable{}
	for _, f := range flags {
		a, implied := flagArity(f)
		for _, name := range f.Names() {
			t[name] = option{name: f.Names()[0], arity: a, implied: implied, values: flagValues(f), flag: f}
		}
	}
	return t
}

// earlyOption is a command's option that stood before the command.
type earlyOption struct {
	key, shown, value string
	arity             arity
}

type normalizer struct {
	app     *cli.App
	rest    []string // what is still to be read
	help    bool     // --help was there
	ended   bool     // options have ended
	command *cli.Command
	global  optionTable
	own     optionTable // of the command
	early   []earlyOption
	pending *option // its value would come next, where the line ends

	globals, options, arguments []string
}

func (n *normalizer) next() error {
	a := n.rest[0]
	n.rest = n.rest[1:]
	switch {
	case n.ended || a == "-" || !strings.HasPrefix(a, "-"):
		return n.word(a)
	case a == "--":
		n.ended = true
		return nil
	case strings.HasPrefix(a, "--"):
		return n.long(a)
	default:
		return n.short(a)
	}
}

// word takes the command or an argument.
func (n *normalizer) word(a string) error {
	if n.command == nil {
		return n.setCommand(a)
	}
	n.arguments = append(n.arguments, a)
	if takesProgram(n.command) && len(n.arguments) == 1 {
		n.ended = true
		if len(n.rest) > 0 && n.rest[0] == "--" {
			n.rest = n.rest[1:]
		}
	}
	return nil
}

func (n *normalizer) setCommand(name string) error {
	n.command = n.app.Command(name)
	if n.command == nil {
		return unknownCommand(n.app, name)
	}
	n.own = newOptionTable(n.command.Flags)
	for _, e := range n.early {
		o, ok := n.own[e.key]
		if !ok || o.arity != e.arity {
			return n.unknown(e.shown)
		}
		if err := n.take(e.key, e.shown, o, true, e.value); err != nil {
			return err
		}
	}
	n.early = nil
	return nil
}

func unknownCommand(app *cli.App, name string) error {
	var names []string
	for _, c := range app.Commands {
		names = append(names, c.Names()...)
	}
	e := &usageError{msg: fmt.Sprintf("unknown command %q", name), hint: "'virga --help' lists the commands"}
	if s := nearest(name, names); s != "" {
		e.hint = fmt.Sprintf("did you mean %q?", s)
	}
	return e
}

// find returns the option called key here: its definition, whether the command
// has it, and whether it exists. Before the command every command is searched.
func (n *normalizer) find(key string) (o option, own, ok bool) {
	if n.command != nil {
		if o, ok = n.own[key]; ok {
			return o, true, true
		}
	}
	if o, ok = n.global[key]; ok || n.command != nil {
		return o, false, ok
	}
	for _, c := range n.app.Commands {
		if o, ok = newOptionTable(c.Flags)[key]; ok {
			return o, true, true
		}
	}
	return option{}, false, false
}

// take files an option with its value under the program or the command.
func (n *normalizer) take(key, shown string, o option, own bool, value string) error {
	early := own && n.command == nil
	switch {
	case o.name == helpOption:
		n.help = true
	case early:
		n.early = append(n.early, earlyOption{key: key, shown: shown, value: value, arity: o.arity})
	case o.values != nil && !slices.Contains(o.values, value):
		return notOneOf("option "+shown+":", value, o.values)
	case own:
		n.options = append(n.options, spell(o, value))
	default:
		n.globals = append(n.globals, spell(o, value))
	}
	return nil
}

// spell is the option as urfave/cli reads it in every case.
func spell(o option, value string) string { return "--" + o.name + "=" + value }

// long takes --NAME, --NAME=VALUE or --NAME VALUE.
func (n *normalizer) long(a string) error {
	key, value, attached := strings.Cut(a[2:], "=")
	shown := "--" + key
	o, own, ok := n.find(key)
	if !ok || len(key) < 2 {
		return n.unknown(shown)
	}
	switch {
	case o.arity == noValue && attached:
		if _, err := strconv.ParseBool(value); err != nil {
			return usagef("option %s takes no value", shown)
		}
	case o.arity == noValue:
		value = "true"
	case o.arity == optionalValue && !attached:
		value = o.implied
	case !attached:
		var err error
		if value, err = n.following(shown, o); err != nil {
			return err
		}
	}
	return n.take(key, shown, o, own, value)
}

// short takes -a, -abc, -tVALUE or -t VALUE.
func (n *normalizer) short(a string) error {
	for i := 1; i < len(a); i++ {
		key := a[i : i+1]
		shown := "-" + key
		o, own, ok := n.find(key)
		if !ok {
			return n.unknown(shown)
		}
		value := "true"
		switch {
		case o.arity == needsValue && i+1 < len(a):
			value, i = a[i+1:], len(a)
		case o.arity == needsValue:
			var err error
			if value, err = n.following(shown, o); err != nil {
				return err
			}
		case o.arity == optionalValue:
			value = o.implied
		}
		if err := n.take(key, shown, o, own, value); err != nil {
			return err
		}
	}
	return nil
}

// following takes the next word as the value of an option.
func (n *normalizer) following(shown string, o option) (string, error) {
	if len(n.rest) == 0 {
		n.pending = &o
		return "", usagef("option %s needs a value", shown)
	}
	v := n.rest[0]
	n.rest = n.rest[1:]
	return v, nil
}

func (n *normalizer) unknown(shown string) error {
	e := &usageError{msg: fmt.Sprintf("unknown option %s", shown), hint: "'virga --help' lists the options"}
	tables := []optionTable{n.global}
	if n.command != nil {
		e.msg += " for " + n.command.Name
		e.hint = fmt.Sprintf("'virga %s --help' lists the options", n.command.Name)
		tables = append(tables, n.own)
	} else {
		for _, c := range n.app.Commands {
			tables = append(tables, newOptionTable(c.Flags))
		}
	}
	var names []string
	for _, t := range tables {
		for name := range t {
			if len(name) > 1 {
				names = append(names, "--"+name)
			}
		}
	}
	slices.Sort(names)
	if s := nearest(shown, names); s != "" && len(shown) > 2 {
		e.hint = fmt.Sprintf("did you mean %s?", s)
	}
	return e
}
