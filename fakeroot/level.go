package fakeroot

// Level is how well the kernel lets root be emulated.
type Level int

const (
	// LevelNone: no seccomp filters.
	LevelNone Level = iota
	// LevelPlain: calls can be answered with 0, and are forgotten.
	LevelPlain
	// LevelRecorded: what is done is remembered, but only programs that are
	// always watched see it (Linux 5.5: USER_NOTIF that can continue).
	LevelRecorded
	// LevelFaithful: programs that need it are told (the layout tag).
	LevelFaithful
)

// Probe finds the level of this kernel and process. why names what stands
// against the next level, and is empty at the highest.
func Probe() (level Level, why string) {
	panic("BUG: not yet")
}

// Active reports whether the calling thread is under a filter of [Program]:
// kexec_load(2) with nonsense arguments succeeds only then.
func Active() bool {
	panic("BUG: not yet")
}
