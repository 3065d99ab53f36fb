package fakeroot

import "fmt"

// Mode is a way of root emulation, the value of --force.
type Mode int

const (
	// ModeSeccomp is the default: lie, remember, and tell the programs that
	// need to know, as well as the kernel allows (see [Level]).
	ModeSeccomp Mode = iota
	// ModeConsistent tells every program, at the price of a notification for
	// each stat(2).
	ModeConsistent
	// ModePlain answers 0 and forgets, as Charliecloud does.
	ModePlain
	// ModeFakeroot wraps package managers in the distribution's fakeroot(1);
	// see [Distribution].
	ModeFakeroot
	// ModeNone emulates nothing.
	ModeNone
)

// modeNames lists the modes in the order that a usage message shows them.
var modeNames = [...]string{
	ModeSeccomp:    "seccomp",
	ModeConsistent: "consistent",
	ModePlain:      "plain",
	ModeFakeroot:   "fakeroot",
	ModeNone:       "none",
}

// Modes are the values that [ParseMode] takes, in the order for messages.
func Modes() []string { return modeNames[:] }

// ParseMode reads the value of --force. The empty string is [ModeSeccomp].
func ParseMode(s string) (Mode, error) {
	if s == "" {
		return ModeSeccomp, nil
	}
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown mode of root emulation %q: use seccomp, consistent, plain, fakeroot or none", s)
}

// String is the inverse of [ParseMode].
func (m Mode) String() string {
	if m < 0 || int(m) >= len(modeNames) {
		return fmt.Sprintf("Mode(%d)", int(m))
	}
	return modeNames[m]
}

// Filtered reports whether the mode needs a seccomp filter.
func (m Mode) Filtered() bool {
	return m == ModeSeccomp || m == ModeConsistent || m == ModePlain
}
