package fakeroot

import "golang.org/x/sys/unix"

// disturb gives the stopped call of a traced process other arguments.
func disturb(pid int) {
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(pid, &regs) == nil {
		regs.Rdi, regs.Rsi = regs.Rsi, regs.Rdi^1
		unix.PtraceSetRegs(pid, &regs)
	}
}
