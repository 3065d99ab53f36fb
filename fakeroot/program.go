package fakeroot

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ProgramOptions says which filter [Program] makes.
type ProgramOptions struct {
	Mode  Mode
	Level Level
	// Arch is the native architecture as in GOARCH; empty means this one.
	Arch string
	// KeepSync lets fsync(2) and its family through. A build answers them with
	// 0: a tree is synced as a whole when it is finished, or thrown away.
	KeepSync bool
}

// Notifies reports whether the filter needs a supervisor.
func (o ProgramOptions) Notifies() bool {
	return (o.Mode == ModeSeccomp || o.Mode == ModeConsistent) && o.Level >= LevelRecorded
}

// Program returns the seccomp filter for RUN, nil if the mode has none. Its
// verdicts are ALLOW, ERRNO and, if [ProgramOptions.Notifies], USER_NOTIF;
// then it must be installed with SECCOMP_FILTER_FLAG_NEW_LISTENER (plus
// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV where the kernel takes it, Linux 5.19)
// and its listener be served by a [Supervisor].
//
// The native ABI and the 32-bit one of the same kernel are filtered alike;
// calls of any other (x32) do not exist: ENOSYS.
func Program(o ProgramOptions) ([]unix.SockFilter, error) {
	if !o.Mode.Filtered() || o.Level == LevelNone {
		return nil, nil
	}
	goarch := o.Arch
	if goarch == "" {
		goarch = runtime.GOARCH
	}
	native, ok := archOf(goarch)
	if !ok {
		return nil, fmt.Errorf("make seccomp filter: architecture %q is not supported", goarch)
	}
	g := generator{options: o}
	g.program(native, goarch == runtime.GOARCH)
	return g.asm.assemble()
}

// Offsets in struct seccomp_data (seccomp(2)).
const (
	dataNr   = 0
	dataArch = 4
	dataIP   = 8
	dataArgs = 16
)

type generator struct {
	asm     assembler
	options ProgramOptions
}

// program emits the dispatch on the ABI and a section for each.
func (g *generator) program(native arch, here bool) {
	info := &arches[native]
	main, compat := g.asm.newLabel(), g.asm.newLabel()
	g.asm.load(dataArch)
	g.asm.ifEqual(info.audit, main, next)
	if info.compat != noArch {
		g.asm.ifEqual(arches[info.compat].audit, compat, next)
	}
	g.asm.ret(verdictNosys)
	g.asm.here(main)
	g.asm.load(dataNr)
	if native == amd64 {
		// Number -1 is what a tracer leaves to skip a call; others are x32.
		ours := g.asm.newLabel()
		g.asm.ifEqual(^uint32(0), ours, next)
		g.asm.ifAtLeast(x32Bit, next, ours)
		g.asm.ret(verdictNosys)
		g.asm.here(ours)
	}
	g.section(native, here)
	if info.compat != noArch {
		g.asm.here(compat)
		g.asm.load(dataNr)
		g.section(info.compat, false)
	}
}

// branch is a call in a section: its number and where its clauses start.
type branch struct {
	nr   uint32
	body label
}

// section emits the search for the call's number, then the clauses.
func (g *generator) section(a arch, here bool) {
	top := arches[a].top
	if here {
		top = measureTop(top)
	}
	rules := rulesFor(g.options.Mode, g.options.Level, g.options.KeepSync, arches[a].cloneFlags)
	var entries []branch
	bodies := make([]label, len(rules))
	for i, r := range rules {
		bodies[i] = g.asm.newLabel()
		for _, name := range strings.Fields(r.calls) {
			if nr, ok := callNumber(name, a); ok {
				entries = append(entries, branch{nr, bodies[i]})
			}
		}
	}
	slices.SortFunc(entries, func(x, y branch) int { return cmp.Compare(x.nr, y.nr) })
	allow := g.asm.newLabel()
	g.search(entries, allow)
	for i, r := range rules {
		g.asm.here(bodies[i])
		g.clauses(r.clauses, a, top, allow)
	}
	g.asm.here(allow)
	g.asm.ret(verdictAllow)
}

// search emits a binary search; the number is in the accumulator.
func (g *generator) search(entries []branch, allow label) {
	if len(entries) <= 2 {
		for _, e := range entries {
			g.asm.ifEqual(e.nr, e.body, next)
		}
		g.asm.jump(allow)
		return
	}
	mid := len(entries) / 2
	right := g.asm.newLabel()
	g.asm.ifAtLeast(entries[mid].nr, right, next)
	g.search(entries[:mid], allow)
	g.asm.here(right)
	g.search(entries[mid:], allow)
}

// clauses emits the body of a rule.
func (g *generator) clauses(cs []clause, a arch, top uint64, allow label) {
	for _, c := range cs {
		fails := g.asm.newLabel()
		for _, t := range c.tests {
			g.test(t, a, top, fails)
		}
		g.asm.ret(c.verdict)
		g.asm.here(fails)
		if len(c.tests) == 0 {
			return
		}
	}
	g.asm.jump(allow)
}

// test goes on if t holds and to fails if not.
func (g *generator) test(t test, a arch, top uint64, fails label) {
	info := &arches[a]
	low, high := uint32(0), uint32(4)
	if info.big {
		low, high = 4, 0
	}
	at := func(arg int) uint32 { return dataArgs + 8*uint32(arg) }
	switch t.kind {
	case argEquals:
		g.asm.load(at(t.arg) + low)
		if t.mask != ^uint32(0) {
			g.asm.and(t.mask)
		}
		g.asm.ifEqual(t.want, next, fails)
	case argHasBits:
		g.asm.load(at(t.arg) + low)
		g.asm.and(t.mask)
		g.asm.ifEqual(0, fails, next)
	case argNonNull:
		yes := g.asm.newLabel()
		g.asm.load(at(t.arg) + low)
		g.asm.ifEqual(0, next, yes)
		g.asm.load(at(t.arg) + high)
		g.asm.ifEqual(0, fails, yes)
		g.asm.here(yes)
	case layoutSees:
		g.calledBelow(watchedBelow(top), info.wide, dataIP+low, dataIP+high, fails)
	case layoutMakes:
		g.calledBelow(makingBelow(top), info.wide, dataIP+low, dataIP+high, fails)
	}
}

// calledBelow goes to fails if the instruction pointer is at border or above.
func (g *generator) calledBelow(border uint64, wide bool, low, high uint32, fails label) {
	if !wide {
		g.asm.load(low)
		g.asm.ifAtLeast(uint32(border), fails, next)
		return
	}
	g.asm.load(high)
	g.asm.ifAtLeast(uint32(border>>32), fails, next)
}

// callNumber finds a call's number; ok is false if a does not have it.
func callNumber(name string, a arch) (nr uint32, ok bool) {
	for i := range callNumbers {
		if callNumbers[i].name == name {
			n := callNumbers[i].nr[a]
			return uint32(n), n >= 0
		}
	}
	panic("BUG: unknown system call " + name)
}
