package unpriv

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process that clone(2) makes of a Go program has one thread and nobody who
// collects garbage or grows stacks: it can do system calls and nothing else.
// So what it is to do is written down before, as a script of calls.

// step is one call of a script.
type step struct {
	nr   uintptr
	args [6]uintptr
	from [6]slot // where an argument comes from, if it is not in args
	to   slot    // where the result goes
	at   *int32  // what opStore writes
	// allow are errors that are as good as success.
	allow [2]syscall.Errno
	// then and otherwise are the numbers of steps to leave out after success and
	// after failure; -1 for otherwise means to give up.
	then, otherwise int16
	zeroFails       bool // the result 0 is a failure
	note            bool // if the script ends without success, this failure is the reason
}

// Calls that are none.
const (
	opStore = ^uintptr(0) - iota // write the 32-bit number args[0] to *at
	opFail                       // give up because of the noted failure, else ENOENT
)

// slot is where a result is kept for later steps; 0 is nowhere.
type slot uint8

const maxSlots = 16

// script is a list of calls under construction.
type script struct {
	steps []step
	notes []note // of each step
	slots slot
	keep  []any // memory that the arguments point to
	err   error // the first mistake
}

// note tells what a step is for.
type note struct {
	what string
	// wrap makes the error; nil is "what: errno".
	wrap func(syscall.Errno) error
}

// do appends a call. An argument is an int, a uintptr, a string (its address,
// ended by zero), an unsafe.Pointer, a slot, or nil.
func (s *script) do(what string, nr uintptr, args ...any) *step {
	st := step{nr: nr, otherwise: -1}
	for i, a := range args {
		switch a := a.(type) {
		case nil:
		case int:
			st.args[i] = uintptr(a)
		case uintptr:
			st.args[i] = a
		case string:
			p, err := unix.BytePtrFromString(a)
			if err != nil && s.err == nil {
				s.err = fmt.Errorf("%s: %q: %w", what, a, err)
			}
			st.args[i] = s.address(unsafe.Pointer(p))
		case unsafe.Pointer:
			st.args[i] = s.address(a)
		case slot:
			st.from[i] = a
		default:
			panic(fmt.Sprintf("BUG: argument of type %T", a))
		}
	}
	s.steps = append(s.steps, st)
	s.notes = append(s.notes, note{what: what})
	return &s.steps[len(s.steps)-1]
}

// address keeps the memory alive; the collector does not move it.
func (s *script) address(p unsafe.Pointer) uintptr {
	s.keep = append(s.keep, p)
	return uintptr(p)
}

// newSlot reserves a slot.
func (s *script) newSlot() slot {
	s.slots++
	if s.slots > maxSlots {
		panic("BUG: too many slots")
	}
	return s.slots
}

// wrap says how the error of the last step is made.
func (s *script) wrap(f func(syscall.Errno) error) { s.notes[len(s.notes)-1].wrap = f }

// ignore goes on whatever happens.
func (st *step) ignore() *step {
	st.otherwise = 0
	return st
}

// unlessDone leaves the next n steps out if this one succeeds, and goes on to
// them if it does not.
func (st *step) unlessDone(n int) *step {
	st.then, st.otherwise = int16(n), 0
	return st
}

// skipOnFailure leaves the next n steps out if this one fails.
func (st *step) skipOnFailure(n int) *step {
	st.otherwise = int16(n)
	return st
}

// but counts errors as success.
func (st *step) but(errs ...syscall.Errno) *step {
	copy(st.allow[:], errs)
	return st
}

// into keeps the result.
func (st *step) into(s slot) *step {
	st.to = s
	return st
}

// open appends openat(2) and returns the slot of the descriptor.
func (s *script) open(what, path string, flags int) slot {
	fd := s.newSlot()
	s.do(what, unix.SYS_OPENAT, unix.AT_FDCWD, path, flags|unix.O_CLOEXEC, 0).into(fd)
	return fd
}

// write appends the writing of a small existing file, as those of /proc.
func (s *script) write(what, path, text string) {
	fd := s.open(what, path, unix.O_WRONLY)
	s.slots-- // used no longer than here
	s.do(what, unix.SYS_WRITE, fd, text, len(text))
	s.do(what, unix.SYS_CLOSE, fd)
}

// failure is what the child sends when it gives up.
type failure struct {
	step  uint32
	errno uint32
}

// explain makes an error of a failure.
func (s *script) explain(f failure) error {
	errno := syscall.Errno(f.errno)
	if int(f.step) >= len(s.notes) {
		return fmt.Errorf("BUG: step %d of %d: %w", f.step, len(s.notes), errno)
	}
	n := s.notes[f.step]
	if n.wrap != nil {
		return n.wrap(errno)
	}
	return fmt.Errorf("%s: %w", n.what, errno)
}
