package unpriv

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// program is a script made ready. A child may run it in our memory: it has to
// stay until then.
type program struct {
	steps  []step
	slots  [maxSlots + 1]uintptr
	report uintptr // descriptor that a failure is written to
	failed failure
	mask   uint64 // of signals, before fork blocked them
	// stack is for a child that shares our memory; nil copies it.
	stack []byte
}

// childStack is ample: interpret and what it calls have no more than a few
// hundred bytes, which the linker checks.
const childStack = 16 << 10

// fork runs p in a new process, with clone(2) flags. The caller is locked to its
// thread. All signals are blocked in the child until a step sets the mask: a
// handler of the Go runtime could do nothing good there.
func fork(flags uintptr, p *program) (pid int, err error) {
	flags |= uintptr(unix.SIGCHLD)
	all := ^uint64(0)
	syscall.ForkLock.Lock()
	sigprocmask(&all, &p.mask)
	var n uintptr
	var errno syscall.Errno
	if p.stack != nil {
		top := uintptr(unsafe.Pointer(unsafe.SliceData(p.stack))) + uintptr(len(p.stack))
		var e uintptr
		n, e = cloneVM(flags|unix.CLONE_VM, top&^15, p)
		errno = syscall.Errno(e)
	} else {
		n, errno = cloneAndRun(flags, p)
	}
	sigprocmask(&p.mask, nil)
	syscall.ForkLock.Unlock()
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sigprocmask cannot fail with these arguments.
func sigprocmask(set, old *uint64) {
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(*set), 0, 0)
}

// cloneAndRun gives the child a copy of our memory. It returns in the parent only.
//
//go:noinline
//go:norace
//go:nosplit
func cloneAndRun(flags uintptr, p *program) (uintptr, syscall.Errno) {
	stack := uintptr(0)
	if runtime.GOARCH == "s390x" { // clone(2) has these two the other way round there
		flags, stack = stack, flags
	}
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	interpret(p)
	return 0, 0
}

// interpret performs the script. It ends with an execve(2), or with a report of
// what failed and the end of the process.
//
//go:noinline
//go:norace
//go:nosplit
func interpret(p *program) {
	perform(p)
	unix.RawSyscall(unix.SYS_WRITE, p.report, uintptr(unsafe.Pointer(&p.failed)), unsafe.Sizeof(p.failed))
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

// perform returns after a failure, which is in p.failed.
//
//go:noinline
//go:norace
//go:nosplit
func perform(p *program) {
	noted := false
	for i := 0; i < len(p.steps); i++ {
		st := &p.steps[i]
		var a [6]uintptr
		for j := range a {
			a[j] = st.args[j]
			if st.from[j] != 0 {
				a[j] = p.slots[st.from[j]]
			}
		}
		r, e := uintptr(0), syscall.Errno(0)
		switch st.nr {
		case opStore:
			*st.at = int32(a[0])
		case opFail:
			if !noted {
				p.failed = failure{uint32(i), uint32(unix.ENOENT)}
			}
			return
		default:
			r, _, e = unix.RawSyscall6(st.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		}
		if e != 0 && (e == st.allow[0] || e == st.allow[1]) {
			e = 0
		} else if e == 0 && r == 0 && st.zeroFails {
			e = unix.EPIPE
		}
		if e == 0 {
			p.slots[st.to] = r
			i += int(st.then)
			continue
		}
		if st.note && !noted || st.otherwise < 0 {
			noted = true
			p.failed = failure{uint32(i), uint32(e)}
		}
		if st.otherwise < 0 {
			return
		}
		i += int(st.otherwise)
	}
}
