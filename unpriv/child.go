package unpriv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// childArgs is all that the forked child needs, in the form in which system
// calls take it: between clone and execve it must not allocate, grow the
// stack, or take a lock, because the other threads do not exist there.
type childArgs struct {
	flags   uintptr // namespaces
	newProc bool    // mount a /proc of the new PID namespace, if allowed
	setsid  bool
	files   [3]int
	prog    *byte
	argv    []*byte
	envv    []*byte
	cwd     *byte
	caps    *capSet // nil: all stay
	user    *userIDs
	filter  []unix.SockFilter
	listen  bool

	name string // of the program, for errors

	// prepared by startChild
	fprog    unix.SockFprog
	pipe     int // our end of the socket to the parent
	msg      unix.Msghdr
	iov      unix.Iovec
	control  []byte
	word     [2]uint32 // what is sent
	mask     uint64    // the signal mask to restore
	proc     [3]*byte  // "proc", "/proc", ""
	capHead  capHeader
	groups   *uint32
	nGroups  int
	capWords [2]capData
}

type userIDs struct {
	uid, gid int
	groups   []uint32
}

// What the child sends: a listener, or the step that failed and its errno.
const (
	sentListener = iota
	failSession
	failFiles
	failDir
	failCaps
	failUser
	failFilter
	failExec
)

var failed = map[uint32]string{
	failSession: "start a session", failFiles: "connect standard streams", failDir: "enter the working directory",
	failCaps: "give up capabilities", failUser: "become the user", failFilter: "install the seccomp filter", failExec: "execute",
}

func (a *childArgs) program(prog string, p *specs.Process) error {
	a.name = p.Args[0]
	var err error
	if a.prog, err = unix.BytePtrFromString(prog); err != nil {
		return &ExecError{prog, err}
	}
	if a.argv, err = syscall.SlicePtrFromStrings(p.Args); err != nil {
		return &ExecError{prog, err}
	}
	if a.envv, err = syscall.SlicePtrFromStrings(p.Env); err != nil {
		return &ExecError{prog, err}
	}
	cwd := p.Cwd
	if cwd == "" {
		cwd = "/"
	}
	a.cwd, err = unix.BytePtrFromString(cwd)
	return err
}

func (a *childArgs) setUser(u specs.User) {
	a.user = &userIDs{uid: int(u.UID), gid: int(u.GID), groups: u.AdditionalGids}
}

// child is a started program.
type child struct {
	pid      int
	listener int // -1: none
	pipe     int
	name     string
	done     chan struct{}
	status   syscall.WaitStatus
	waitErr  error
}

// startChild forks and executes the program on the calling, locked thread.
// Without a filter it returns when the program runs; with one when the
// listener is there, because the exec itself may need the supervisor.
func startChild(a *childArgs) (*child, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", a.name, err)
	}
	if err := a.prepareFork(fds[1]); err != nil {
		return nil, fmt.Errorf("start %q: %w", a.name, err)
	}
	var all uint64 = ^uint64(0)
	if err := sigprocmask(&all, &a.mask); err != nil {
		return nil, fmt.Errorf("start %q: %w", a.name, err)
	}
	pid, errno := fork(a)
	sigprocmask(&a.mask, nil)
	unix.Close(fds[1])
	for _, fd := range a.files {
		unix.Close(fd)
	}
	if errno != 0 {
		unix.Close(fds[0])
		return nil, fmt.Errorf("start %q: create process in new namespaces: %w", a.name, errno)
	}
	ch := &child{pid: int(pid), listener: -1, pipe: fds[0], name: a.name, done: make(chan struct{})}
	go ch.reap()
	if a.filter != nil && a.listen {
		if err := ch.receiveListener(); err != nil {
			ch.kill()
			<-ch.done
			unix.Close(ch.pipe)
			return nil, err
		}
	}
	return ch, nil
}

func sigprocmask(set, old *uint64) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// prepareFork builds every structure that the child passes to the kernel.
func (a *childArgs) prepareFork(pipe int) (err error) {
	a.pipe = pipe
	for i := range a.files { // above 2, so that dup3 never overwrites one that is still needed
		if a.files[i], err = unix.FcntlInt(uintptr(a.files[i]), unix.F_DUPFD_CLOEXEC, 3); err != nil {
			return err
		}
	}
	if len(a.filter) > 0 {
		a.fprog = unix.SockFprog{Len: uint16(len(a.filter)), Filter: &a.filter[0]}
	}
	a.control = unix.UnixRights(0)
	a.iov = unix.Iovec{Base: (*byte)(unsafe.Pointer(&a.word[0]))}
	a.iov.SetLen(int(unsafe.Sizeof(a.word)))
	a.msg = unix.Msghdr{Iov: &a.iov, Iovlen: 1, Control: &a.control[0]}
	a.msg.SetControllen(len(a.control))
	for i, s := range []string{"proc", "/proc", ""} {
		a.proc[i], _ = unix.BytePtrFromString(s) // no zero bytes
	}
	if a.caps != nil {
		a.capHead, a.capWords = a.caps.words()
	}
	if a.user != nil {
		if a.nGroups = len(a.user.groups); a.nGroups > 0 {
			a.groups = &a.user.groups[0]
		}
	}
	return nil
}

// fork clones the calling thread alone. The child does not return.
//
//go:noinline
//go:norace
func fork(a *childArgs) (uintptr, syscall.Errno) {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, a.flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 || pid != 0 {
		return pid, e
	}
	childMain(a)
	return 0, 0
}

// childMain runs in the child.
//
//go:norace
//go:nosplit
//go:noinline
func childMain(a *childArgs) {
	var step uint32
	var e syscall.Errno
	// Tied to the thread that forked, which lives until the end of Run.
	unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	if a.setsid {
		if _, _, e = unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0); e != 0 {
			step = failSession
			goto fail
		}
	}
	if a.newProc {
		// Refused where parts of the host's /proc are hidden; the host's own stays then.
		unix.RawSyscall6(unix.SYS_MOUNT, uintptr(unsafe.Pointer(a.proc[0])), uintptr(unsafe.Pointer(a.proc[1])), uintptr(unsafe.Pointer(a.proc[0])),
			unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, uintptr(unsafe.Pointer(a.proc[2])), 0)
	}
	for i := range a.files {
		if _, _, e = unix.RawSyscall(unix.SYS_DUP3, uintptr(a.files[i]), uintptr(i), 0); e != 0 {
			step = failFiles
			goto fail
		}
	}
	if _, _, e = unix.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(a.cwd)), 0, 0); e != 0 {
		step = failDir
		goto fail
	}
	if a.caps != nil {
		for c := range uintptr(64) {
			if a.caps.bounding&(1<<c) == 0 {
				unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0) // EINVAL above the last one
			}
		}
	}
	if a.user != nil {
		if _, _, e = unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(a.nGroups), uintptr(unsafe.Pointer(a.groups)), 0); e == 0 {
			if _, _, e = unix.RawSyscall(unix.SYS_SETRESGID, uintptr(a.user.gid), uintptr(a.user.gid), uintptr(a.user.gid)); e == 0 {
				_, _, e = unix.RawSyscall(unix.SYS_SETRESUID, uintptr(a.user.uid), uintptr(a.user.uid), uintptr(a.user.uid))
			}
		}
		if e != 0 {
			step = failUser
			goto fail
		}
	}
	if a.caps != nil && (a.user == nil || a.user.uid == 0) {
		if _, _, e = unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&a.capHead)), uintptr(unsafe.Pointer(&a.capWords[0])), 0); e != 0 {
			step = failCaps
			goto fail
		}
	}
	unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&a.mask)), 0, 8, 0, 0)
	if a.fprog.Len > 0 {
		if step, e = installFilter(a); e != 0 {
			goto fail
		}
	}
	_, _, e = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(a.prog)), uintptr(unsafe.Pointer(&a.argv[0])), uintptr(unsafe.Pointer(&a.envv[0])))
	step = failExec
fail:
	a.word[0], a.word[1] = step, uint32(e)
	unix.RawSyscall(unix.SYS_WRITE, uintptr(a.pipe), uintptr(unsafe.Pointer(&a.word[0])), unsafe.Sizeof(a.word))
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

// installFilter puts the child under the filter and sends the listener.
//
//go:norace
//go:nosplit
func installFilter(a *childArgs) (uint32, syscall.Errno) {
	var flags uintptr
	if a.listen {
		flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&a.fprog)))
	if e == unix.EINVAL && a.listen { // before Linux 5.19
		fd, _, e = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&a.fprog)))
	}
	if e != 0 || !a.listen {
		return failFilter, e
	}
	*(*int32)(unsafe.Pointer(&a.control[unix.SizeofCmsghdr])) = int32(fd)
	a.word[0] = sentListener
	_, _, e = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(a.pipe), uintptr(unsafe.Pointer(&a.msg)), 0)
	unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	return failFilter, e
}

// receiveListener waits for the filter's listener.
func (ch *child) receiveListener() error {
	var word [8]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(ch.pipe, word[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return fmt.Errorf("start %q: receive the seccomp listener: %w", ch.name, err)
	}
	if oobn == 0 {
		return ch.failure(word[:n])
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(msgs) == 1 {
		var fds []int
		if fds, err = unix.ParseUnixRights(&msgs[0]); err == nil && len(fds) == 1 {
			ch.listener = fds[0]
			return nil
		}
	}
	return fmt.Errorf("BUG: start %q: no listener came: %w", ch.name, err)
}

// failure decodes what the child sent before it gave up.
func (ch *child) failure(word []byte) error {
	if len(word) == 0 {
		return fmt.Errorf("start %q: the process was killed before it began", ch.name)
	}
	w := (*[2]uint32)(unsafe.Pointer(&word[0]))
	step, errno := w[0], syscall.Errno(w[1])
	if step == failExec {
		return &ExecError{ch.name, errno}
	}
	return fmt.Errorf("start %q: %s: %w", ch.name, failed[step], errno)
}

// execError waits until the program runs, or tells why it does not.
func (ch *child) execError() error {
	var word [8]byte
	n, err := unix.Read(ch.pipe, word[:])
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(ch.pipe, word[:])
	}
	if err != nil || n < len(word) {
		return nil // closed by the exec, or by a kill, which wait reports
	}
	return ch.failure(word[:])
}

// reap collects the child.
func (ch *child) reap() {
	defer close(ch.done)
	for {
		_, err := syscall.Wait4(ch.pid, &ch.status, 0, nil)
		if err != syscall.EINTR {
			ch.waitErr = err
			return
		}
	}
}

func (ch *child) wait() (Status, error) {
	<-ch.done
	if ch.waitErr != nil {
		return Status{}, fmt.Errorf("wait for %q: %w", ch.name, os.NewSyscallError("wait4", ch.waitErr))
	}
	return newStatus(ch.status), nil
}

// watch kills the child, and so everything in its PID namespace, at the end
// of ctx.
func (ch *child) watch(ctx context.Context) {
	select {
	case <-ctx.Done():
		ch.kill()
	case <-ch.done:
	}
}

func (ch *child) kill() { syscall.Kill(ch.pid, syscall.SIGKILL) }

func (ch *child) close() {
	unix.Close(ch.pipe)
	if ch.listener >= 0 {
		unix.Close(ch.listener)
	}
}
