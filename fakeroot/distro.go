package fakeroot

import "io/fs"

// Step is one preparation of an image for fakeroot(1), run as root in it by
// /bin/sh -c.
type Step struct {
	Name    string // for messages: "enable EPEL"
	Check   string // succeeds if there is nothing to do; empty: always do
	Command string
}

// Distribution is how a family of distributions gets and uses fakeroot(1).
type Distribution struct {
	Name  string   // for messages: "debian"
	Words []string // a RUN with one of these words needs wrapping
	Steps []Step   // once per stage, before the first wrapped RUN
}

// Detect finds the distribution installed in root; ok is false if none fits.
func Detect(root fs.FS) (d Distribution, ok bool) { panic("BUG: not yet") }

// Wanted reports whether a command line (the words of RUN, whatever its form)
// uses a package manager.
func (d Distribution) Wanted(words []string) bool { panic("BUG: not yet") }

// Wrap returns argv under fakeroot(1).
func (d Distribution) Wrap(argv []string) []string { panic("BUG: not yet") }
