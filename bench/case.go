package main

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// benchCase is one piece of work that several tools do.
type benchCase struct {
	name  string // group/variant
	title string // what is done, for the table's reader
	// x places the case on a curve: its size, in the unit of curve.
	x     float64
	curve string
	big   bool // too much for -quick
	tools []tool
}

// tool is one way to do the work. The commands are lines for sh(1); a timed
// command without the shell's special characters is started without a shell.
type tool struct {
	name    string
	note    string // version or settings worth telling
	setup   string // once, before the first round
	prepare string // before each run; $ROUND differs each time
	run     string // what is timed
	check   string // after each run: succeeds if the work was done
	cleanup string // once, after the last round
}

// selected reports whether the case is meant by the patterns, separated by
// commas; a pattern is a name, the beginning of one, or a shell pattern.
func (c *benchCase) selected(patterns string) bool {
	if patterns == "" {
		return true
	}
	for p := range strings.SplitSeq(patterns, ",") {
		if ok, err := path.Match(p, c.name); err == nil && ok || strings.HasPrefix(c.name, p) {
			return true
		}
	}
	return false
}

// allCases are the cases in the order in which they run: those that share what
// is in storage follow each other.
func allCases() []benchCase {
	var all []benchCase
	for _, f := range []func() []benchCase{
		startCases, runCases, build20Cases, copyCases, stageCases, manyCases,
		emulationCases, pullCases, unpackCases, scienceCases, pushCases, fileCases, scalingCases,
	} {
		all = append(all, f()...)
	}
	return all
}

// choose returns the cases that the patterns mean.
func choose(patterns string, quick bool) []benchCase {
	var chosen []benchCase
	for _, c := range allCases() {
		if c.selected(patterns) && !(c.big && quick) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// only returns the cases with the named tools alone.
func only(cases []benchCase, names []string) []benchCase {
	var out []benchCase
	for _, c := range cases {
		c.tools = slices.DeleteFunc(slices.Clone(c.tools), func(t tool) bool { return !slices.Contains(names, t.name) })
		if len(c.tools) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// inCache finds what tools use of the cache: images of its registry, and files.
var inCache = regexp.MustCompile(`(?:\$REG/bench/|%s/bench/|\$CACHE/)([a-z]+)`)

// images are the names of what the cases need from the cache. The files
// science.tar.* go by the name layer.
func images(cases []benchCase) []string {
	var out []string
	for _, c := range cases {
		for _, t := range c.tools {
			lines := strings.Join([]string{t.setup, t.prepare, t.run}, "\n")
			for _, m := range inCache.FindAllStringSubmatch(lines, -1) {
				name := m[1]
				if strings.HasPrefix(m[0], "$CACHE") {
					name = "layer"
				}
				if !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
		}
	}
	return out
}
