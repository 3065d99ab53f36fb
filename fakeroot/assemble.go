package fakeroot

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// label is a place in a program that jumps can name before it is known.
type label int

// next is the label of whatever follows.
const next label = -1

// line is an instruction whose jumps are labels, or the definition of one.
type line struct {
	code   uint16
	k      uint32
	jt, jf label
	define bool
	name   label
}

// assembler collects a classic BPF program. Jumps name labels; assemble
// chooses between the 8-bit offsets of conditional jumps and an additional
// unconditional one, which reaches anywhere.
type assembler struct {
	lines  []line
	labels label
}

func (a *assembler) newLabel() label {
	a.labels++
	return a.labels - 1
}

// here defines l at the present place.
func (a *assembler) here(l label) { a.lines = append(a.lines, line{define: true, name: l}) }

// load puts the 32-bit word at off in the seccomp_data into the accumulator.
func (a *assembler) load(off uint32) { a.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, off) }

// and masks the accumulator.
func (a *assembler) and(mask uint32) { a.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, mask) }

// ret ends the program with a verdict.
func (a *assembler) ret(v uint32) { a.op(unix.BPF_RET|unix.BPF_K, v) }

func (a *assembler) op(code uint16, k uint32) {
	a.lines = append(a.lines, line{code: code, k: k, jt: next, jf: next})
}

// jump goes to l.
func (a *assembler) jump(l label) {
	a.lines = append(a.lines, line{code: unix.BPF_JMP | unix.BPF_JA, jt: l, jf: next})
}

// ifEqual goes to yes if the accumulator equals k, else to no.
func (a *assembler) ifEqual(k uint32, yes, no label) { a.cond(unix.BPF_JEQ, k, yes, no) }

// ifAtLeast goes to yes if the accumulator is k or more (unsigned), else to no.
func (a *assembler) ifAtLeast(k uint32, yes, no label) { a.cond(unix.BPF_JGE, k, yes, no) }

func (a *assembler) cond(op uint16, k uint32, yes, no label) {
	a.lines = append(a.lines, line{code: unix.BPF_JMP | unix.BPF_K | op, k: k, jt: yes, jf: no})
}

// maxProgram is BPF_MAXINSNS, the longest filter the kernel takes.
const maxProgram = 4096

// assemble resolves the labels.
func (a *assembler) assemble() ([]unix.SockFilter, error) {
	long := make([]bool, len(a.lines))
	for {
		pos, total := a.place(long)
		if total > maxProgram {
			return nil, fmt.Errorf("assemble filter: BUG: %d instructions, the kernel takes %d", total, maxProgram)
		}
		prog, grown, err := a.emit(pos, long)
		if err != nil || !grown {
			return prog, err
		}
	}
}

// place computes where each line starts.
func (a *assembler) place(long []bool) (pos []int, total int) {
	pos = make([]int, len(a.lines))
	for i, l := range a.lines {
		pos[i] = total
		switch {
		case l.define:
		case long[i]:
			total += 3 // the condition and a far jump for each outcome
		default:
			total++
		}
	}
	return pos, total
}

// emit writes the program; grown says that a jump did not fit and has been
// marked in long, so that the lines must be placed again.
func (a *assembler) emit(pos []int, long []bool) (prog []unix.SockFilter, grown bool, err error) {
	at := make([]int, a.labels)
	for i := range at {
		at[i] = -1
	}
	for i, l := range a.lines {
		if l.define {
			at[l.name] = pos[i]
		}
	}
	for i, l := range a.lines {
		if l.define {
			continue
		}
		far := func(to label, from int) uint32 {
			if to == next {
				return uint32(pos[i] + a.width(long[i]) - from - 1)
			}
			if at[to] <= from {
				err = fmt.Errorf("assemble filter: BUG: label %d is undefined or behind", to)
				return 0
			}
			return uint32(at[to] - from - 1)
		}
		switch {
		case l.code == unix.BPF_JMP|unix.BPF_JA:
			prog = append(prog, unix.SockFilter{Code: l.code, K: far(l.jt, pos[i])})
		case l.code&7 != unix.BPF_JMP:
			prog = append(prog, unix.SockFilter{Code: l.code, K: l.k})
		case long[i]:
			prog = append(prog,
				unix.SockFilter{Code: l.code, K: l.k, Jt: 0, Jf: 1},
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: far(l.jt, pos[i]+1)},
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: far(l.jf, pos[i]+2)})
		default:
			jt, jf := far(l.jt, pos[i]), far(l.jf, pos[i])
			if jt > 255 || jf > 255 {
				long[i], grown = true, true
			}
			prog = append(prog, unix.SockFilter{Code: l.code, K: l.k, Jt: uint8(jt), Jf: uint8(jf)})
		}
		if err != nil {
			return nil, false, err
		}
	}
	return prog, grown, nil
}

func (a *assembler) width(long bool) int {
	if long {
		return 3
	}
	return 1
}
