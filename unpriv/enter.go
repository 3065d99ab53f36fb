package unpriv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Isolation is the kind of wall around RUN.
type Isolation int

const (
	// UserNS is a user namespace with one uid and one gid: no privilege needed.
	UserNS Isolation = iota
	// Chroot is real root in a mount namespace: owners and devices are real.
	Chroot
)

// Entry says what namespaces a command wants to be in.
type Entry struct {
	Isolation Isolation
	// PassSignals has the first process pass signals on to the second, instead
	// of ending it with ctx.
	PassSignals bool
}

// marker ends the argv[0] of a process that Enter started. Whoever forges it
// merely gets a failing mount(2).
const marker = " (in namespaces)"

// Entered reports whether this process was started by Enter.
func Entered() bool { return strings.HasSuffix(os.Args[0], marker) }

// Enter runs the process' own command line again in new namespaces. In the
// first process it returns done and the exit status when that has ended; in
// the second it returns at once with done false. Mounts made there are seen
// by nobody else and vanish with it, and it does not outlive the first one.
// Privilege cannot be gained any more (PR_SET_NO_NEW_PRIVS, prctl(2)).
//
// At the end of ctx the second process gets a SIGTERM, and is killed if it does
// not end then. Errors are a [RootError] or a [NamespaceError], or rare.
func Enter(ctx context.Context, e Entry) (done bool, status Status, err error) {
	if Entered() {
		return false, Status{}, separate(e)
	}
	if e.Isolation == Chroot && !realRoot() {
		return true, Status{}, &RootError{}
	}
	status, err = reexec(ctx, e)
	return true, status, err
}

// RootError says that the chroot path was asked for by an ordinary user.
type RootError struct{}

func (*RootError) Error() string { return "isolation chroot: needs real root" }

// Hint says what to do instead.
func (*RootError) Hint() string {
	return "leave out --isolation: the default, userns, needs no privilege and emulates root"
}

// realRoot tells real root from a user who is called 0 in a user namespace.
func realRoot() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return os.Geteuid() == 0 && (err != nil || mappedIDs(string(b)) >= 1<<16)
}

// mappedIDs is the number of ids in a map (user_namespaces(7)).
func mappedIDs(text string) (n uint64) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 {
			size, _ := strconv.ParseUint(f[2], 10, 64)
			n += size
		}
	}
	return n
}

// separate keeps our mounts from going to the host, and lets those of the host
// (automounted directories) come. Under AppArmor's restriction user namespaces
// can be made, and this is the first thing that fails in them.
func separate(e Entry) error {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	if e.Isolation == UserNS && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		return newNamespaceError(err)
	}
	if err != nil {
		return fmt.Errorf("separate mounts from the host's: %w", err)
	}
	return nil
}

// grace is what the inner process has for cleaning up.
const grace = 10 * time.Second

func reexec(ctx context.Context, e Entry) (Status, error) {
	var pass *passing
	if e.PassSignals {
		pass, ctx = catchSignals(), context.WithoutCancel(ctx)
		defer pass.stop()
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0] + marker
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = grace
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = e.attributes()
	// The death signal is tied to the thread that forks, so that thread must
	// stay until the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return Status{}, fmt.Errorf("give up gaining privilege: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return Status{}, e.startError(err)
	}
	if pass != nil {
		pass.to(func(s syscall.Signal) { cmd.Process.Signal(s) }) // it may have ended: nothing to tell it then
	}
	if err := cmd.Wait(); cmd.ProcessState == nil {
		return Status{}, fmt.Errorf("wait for the process in namespaces: %w", err)
	}
	return newStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
}

func (e Entry) startError(err error) error {
	switch {
	case e.Isolation == UserNS && forbidden(err):
		return newNamespaceError(err)
	case e.Isolation == Chroot && errors.Is(err, unix.EPERM):
		return &RootError{} // without its capabilities
	}
	return fmt.Errorf("create namespaces: %w", err)
}

func (e Entry) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if e.Isolation == UserNS {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// Status is how a program ended.
type Status struct {
	Code   int            // exit status, if Signal is 0
	Signal syscall.Signal // signal that ended it
}

func newStatus(ws syscall.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Signal: ws.Signal()}
	}
	return Status{Code: ws.ExitStatus()}
}

// Exit is the status as a shell reports it: 128+N for signal N.
func (s Status) Exit() int {
	if s.Signal != 0 {
		return 128 + int(s.Signal)
	}
	return s.Code
}

func (s Status) String() string {
	if s.Signal != 0 {
		return fmt.Sprintf("signal %d (%v)", int(s.Signal), s.Signal)
	}
	return fmt.Sprintf("exit status %d", s.Code)
}
