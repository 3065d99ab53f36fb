package unpriv

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The parts of a script, in the order in which a container is made. Paths are
// the host's until enterRoot, which makes the root's of them: from there on the
// kernel itself resolves every target inside the root, whatever links an
// image has. The host's files are then found relative to the working directory,
// by paths without links.

// tie has the process die with the thread that made it.
func (l *launch) tie() {
	l.do("die with virga", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	// If that has happened by now, nobody is left at the other end.
	l.do("close virga's end", unix.SYS_CLOSE, l.ours)
	l.do("find virga alive", unix.SYS_RECVFROM, l.theirs, unsafe.Pointer(new(byte)), 1, unix.MSG_DONTWAIT|unix.MSG_PEEK, nil, nil).
		but(unix.EAGAIN)
	l.steps[len(l.steps)-1].zeroFails = true
}

// onlyStreams makes files the standard streams and closes all else but the
// socket: what virga has open, or inherited, is not the program's business.
func (l *launch) onlyStreams(files [3]*os.File) error {
	var above [3]slot // none of which is in the way of another
	for i, f := range files {
		above[i] = l.newSlot()
		l.do("copy standard streams", unix.SYS_FCNTL, int(f.Fd()), unix.F_DUPFD_CLOEXEC, 3).into(above[i])
	}
	for i, from := range above {
		l.do("connect standard streams", unix.SYS_DUP3, from, i, 0)
	}
	l.slots -= slot(len(above))
	if unix.CloseRange(math.MaxInt32, math.MaxInt32, 0) == nil { // Linux 5.9
		if l.theirs > 3 {
			l.do("close other files", unix.SYS_CLOSE_RANGE, 3, l.theirs-1, 0)
		}
		l.do("close other files", unix.SYS_CLOSE_RANGE, l.theirs+1, math.MaxInt32, 0)
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd")
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 && fd != l.theirs {
			l.do("close other files", unix.SYS_CLOSE, fd).ignore()
		}
	}
	return err
}

// mapIDs gives the process ids in its new user namespace, as one ordinary user
// may: its own, one of each (user_namespaces(7)).
func (l *launch) mapIDs(uid, gid, hostUID, hostGID int) {
	first := len(l.steps)
	l.write("forbid setgroups", "/proc/self/setgroups", "deny")
	l.write("map the group", "/proc/self/gid_map", fmt.Sprintf("%d %d 1", gid, hostGID))
	l.write("map the user", "/proc/self/uid_map", fmt.Sprintf("%d %d 1", uid, hostUID))
	l.namespaceErrors(first)
}

// namespaceErrors has the steps from first on report that the host does not
// allow user namespaces.
func (l *launch) namespaceErrors(first int) {
	for i := first; i < len(l.notes); i++ {
		what := l.notes[i].what
		l.notes[i].wrap = func(no syscall.Errno) error {
			if no == unix.EPERM || no == unix.EACCES {
				return newNamespaceError(no)
			}
			return fmt.Errorf("%s: %w", what, no)
		}
	}
}

// follow keeps new mounts of the host coming (automounted directories) and ours
// from going there.
func (l *launch) follow() {
	first := len(l.steps)
	l.do("separate mounts from the host's", unix.SYS_MOUNT, nil, "/", nil, unix.MS_REC|unix.MS_SLAVE, nil)
	l.namespaceErrors(first)
}

// enterRoot makes dir, a mount point, the root for the mounts to come. They are
// made by paths, which the kernel resolves beneath it. The host's root becomes
// the working directory.
//
// Not yet by pivot_root(2): that would stack the old root on the new one, where
// ".." in a link of the image leads to it.
func (l *launch) enterRoot(dir string) {
	if l.rootfs {
		l.overmount()
	}
	host := l.open("open the host's root", "/", unix.O_PATH|unix.O_DIRECTORY)
	l.do("enter the root", unix.SYS_CHDIR, dir)
	// A recursive bind mount of what dir is in leaves it out.
	l.do("keep the root single", unix.SYS_MOUNT, nil, ".", nil, unix.MS_UNBINDABLE, nil)
	l.do("enter the root", unix.SYS_CHROOT, ".")
	l.do("enter the host's root", unix.SYS_FCHDIR, host)
	l.do("close the host's root", unix.SYS_CLOSE, host)
	l.slots--
}

// overmount covers a root that pivot_root(2) cannot leave, the kernel's own
// rootfs, as nodes without disks have it, by itself. "/.." is on top of it.
func (l *launch) overmount() {
	l.do("mount the host's root again", unix.SYS_MOUNT, "/", "/", nil, unix.MS_BIND|unix.MS_REC, nil)
	l.do("enter the host's root", unix.SYS_CHDIR, "/..")
	l.do("enter the host's root", unix.SYS_CHROOT, ".")
}

// inMemory reports whether the root is a file system as rootfs is one.
func inMemory() bool {
	var st unix.Statfs_t
	err := unix.Statfs("/", &st)
	return err == nil && (st.Type == unix.RAMFS_MAGIC || st.Type == unix.TMPFS_MAGIC)
}

// leaveHost makes dir the root of the mount namespace, and detaches the old one.
func (l *launch) leaveHost(dir string) {
	l.do("enter the host's root", unix.SYS_CHROOT, ".")
	l.do("enter the root", unix.SYS_CHDIR, dir)
	l.do("change the root", unix.SYS_PIVOT_ROOT, ".", ".")
	l.do("leave the host's root", unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	l.do("enter the root", unix.SYS_CHDIR, "/")
	l.do("make the root bindable", unix.SYS_MOUNT, nil, "/", nil, unix.MS_PRIVATE, nil)
}

// loopback switches on the only interface of a new network namespace.
func (l *launch) loopback() {
	// struct ifreq: name[16], flags.
	req := make([]byte, 40)
	copy(req, "lo")
	*(*uint16)(unsafe.Pointer(&req[16])) = unix.IFF_UP | unix.IFF_RUNNING
	fd := l.newSlot()
	l.do("open a socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).into(fd)
	l.do("switch the loopback interface on", unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, unsafe.Pointer(&req[0])).ignore()
	l.do("close a socket", unix.SYS_CLOSE, fd)
	l.slots--
}

// workDir enters the working directory of the program.
func (l *launch) workDir(dir string) {
	if dir == "" {
		dir = "/"
	}
	l.do("enter the working directory", unix.SYS_CHDIR, dir)
	l.wrap(func(no syscall.Errno) error { return &CwdError{dir, no} })
}

// noNewPrivileges forbids gaining any by execve(2), for good.
func (l *launch) noNewPrivileges() {
	l.do("give up gaining privilege", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// resetSignals gives signals the meaning that they have for a new program.
// Those that our caller ignores stay so.
func (l *launch) resetSignals() {
	type sigaction [4]uint64 // all zero is SIG_DFL, without flags, on every architecture
	def := unsafe.Pointer(new(sigaction))
	for s := syscall.Signal(1); s <= 64; s++ {
		if s == unix.SIGKILL || s == unix.SIGSTOP || signal.Ignored(s) {
			continue
		}
		l.do("reset signals", unix.SYS_RT_SIGACTION, int(s), def, nil, 8).ignore()
	}
	l.do("unblock signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, nil, nil, 8) // see setMask
}

// filter puts the process under a seccomp filter. If somebody supervises, it
// sends the listener and the handles mounts and root, and waits for leave.
func (l *launch) filter(program []unix.SockFilter, mounts, root slot) {
	fprog := unsafe.Pointer(&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if l.supervise == nil {
		l.do("install the seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, fprog)
		return
	}
	listener := l.newSlot()
	// A signal must not interrupt a call that is being answered; Linux before 5.19
	// does not know how.
	l.do("install the seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, fprog).into(listener).unlessDone(1)
	l.do("install the seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, fprog).into(listener)

	control := unix.UnixRights(0, 0, 0)
	for i, from := range []slot{listener, mounts, root} {
		l.do("send handles", opStore, from).at = (*int32)(unsafe.Pointer(&control[unix.CmsgLen(0)+4*i]))
	}
	word := new(byte)
	iov := &unix.Iovec{Base: word}
	iov.SetLen(1)
	msg := &unix.Msghdr{Iov: iov, Iovlen: 1, Control: &control[0]}
	msg.SetControllen(len(control))
	l.do("send handles", unix.SYS_SENDMSG, l.theirs, unsafe.Pointer(msg), 0)
	l.do("wait for the supervisor", unix.SYS_READ, l.theirs, unsafe.Pointer(word), 1)
	l.steps[len(l.steps)-1].zeroFails = true
	for _, fd := range []slot{listener, mounts, root} {
		l.do("close handles", unix.SYS_CLOSE, fd)
	}
	l.slots--
}

// selfTest makes sure that the filter is in force.
func (l *launch) selfTest(c *Call) {
	if c == nil {
		return
	}
	a := c.Args
	l.do("test the seccomp filter", c.Nr, a[0], a[1], a[2], a[3], a[4], a[5])
	l.wrap(func(no syscall.Errno) error {
		return fmt.Errorf("test the seccomp filter: the call that it answers got: %w", no)
	})
}

// exec looks the program up as execvp(3) does, inside the container, and
// executes it.
func (l *launch) exec(p *specs.Process) error {
	argv, err := syscall.SlicePtrFromStrings(p.Args)
	if err != nil {
		return fmt.Errorf("start %q: argument with a zero byte: %w", l.name, err)
	}
	envv, err := syscall.SlicePtrFromStrings(p.Env)
	if err != nil {
		return fmt.Errorf("start %q: variable with a zero byte: %w", l.name, err)
	}
	l.keep = append(l.keep, argv, envv)
	for _, path := range candidates(p.Args[0], p.Env) {
		l.do("find "+path, unix.SYS_FACCESSAT, unix.AT_FDCWD, path, unix.F_OK).skipOnFailure(1)
		st := l.do("execute "+path, unix.SYS_EXECVE, path, unsafe.Pointer(&argv[0]), unsafe.Pointer(&envv[0])).ignore()
		st.note = true
		l.wrap(func(no syscall.Errno) error { return &ExecError{Program: path, Err: no} })
	}
	l.do("execute", opFail)
	l.wrap(func(no syscall.Errno) error { return &ExecError{Program: l.name, Err: no} })
	return nil
}

// defaultPath is searched where the environment has no PATH, as Docker has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// candidates are the paths that name may stand for.
func candidates(name string, env []string) []string {
	if strings.Contains(name, "/") || name == "" {
		return []string{name}
	}
	path := defaultPath
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var out []string
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		out = append(out, strings.TrimSuffix(dir, "/")+"/"+name)
	}
	return out
}

// fdPath is a path of an open file, whatever its name.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
