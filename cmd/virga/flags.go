package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// optionalFlag is an option whose value may be left out: --force means
// --force=IMPLIED. A value is taken only with "=", never from the next word.
type optionalFlag struct {
	*cli.StringFlag
	implied string
	values  []string // all that it may be
}

// choiceFlag is an option that has few values.
type choiceFlag struct {
	*cli.StringFlag
	values []string
}

// flagValues are all values that an option may have; nil if they are not few.
// Others are refused before a command sees them.
func flagValues(f cli.Flag) []string {
	switch f := f.(type) {
	case *optionalFlag:
		return f.values
	case *choiceFlag:
		return f.values
	}
	return nil
}

// orderedFlag is one of several options whose order on the command line
// matters. They append to one list that they share.
func orderedFlag(list *[]orderedOption, name, usage string) cli.Flag {
	return &cli.GenericFlag{Name: name, Usage: usage, Value: &orderedValue{name: name, list: list}}
}

// orderedOption is one use of an option made by orderedFlag.
type orderedOption struct{ name, value string }

type orderedValue struct {
	name string
	list *[]orderedOption
}

func (v *orderedValue) Set(s string) error {
	*v.list = append(*v.list, orderedOption{v.name, s})
	return nil
}

func (v *orderedValue) String() string { return "" }

// optionalOrderedFlag is an orderedFlag whose value may be left out.
type optionalOrderedFlag struct {
	cli.Flag
	implied string
}

// arity says how an option takes its value.
type arity int

const (
	noValue arity = iota
	needsValue
	optionalValue
)

// flagArity returns how f takes its value, and the value that stands for none.
func flagArity(f cli.Flag) (arity, string) {
	switch f := f.(type) {
	case *cli.BoolFlag:
		return noValue, ""
	case *optionalFlag:
		return optionalValue, f.implied
	case *optionalOrderedFlag:
		return optionalValue, f.implied
	default:
		return needsValue, ""
	}
}

// flagUsage returns the placeholder of the option's value and its explanation.
// The placeholder is what stands between back quotes in the usage text.
func flagUsage(f cli.Flag) (placeholder, text string) {
	var usage string
	switch f := f.(type) {
	case *optionalOrderedFlag:
		return flagUsage(f.Flag)
	case cli.DocGenerationFlag:
		usage = f.GetUsage()
	}
	before, rest, ok := strings.Cut(usage, "`")
	if !ok {
		return "", usage
	}
	placeholder, after, _ := strings.Cut(rest, "`")
	return placeholder, before + placeholder + after
}

// flagSynopsis is the option as help shows it: "-t, --tag TAG",
// "--force[=MODE]".
func flagSynopsis(f cli.Flag) string {
	var short, long []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	s := strings.Join(append(short, long...), ", ")
	if len(short) == 0 {
		s = "    " + s
	}
	placeholder, _ := flagUsage(f)
	switch a, _ := flagArity(f); a {
	case needsValue:
		s += " " + placeholder
	case optionalValue:
		s += fmt.Sprintf("[=%s]", placeholder)
	}
	return s
}
