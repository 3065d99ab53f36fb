package unpriv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

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
	// UID and GID are what the caller's effective ids are called inside.
	UID, GID int
	// Signals makes the outer process pass on every signal that ends or
	// controls a program, for run. Otherwise the end of the context becomes a SIGTERM.
	Signals bool
}

// marker is the argv[0] of a process that Enter started. Whoever forges it
// merely gets a failing mount(2).
const marker = "virga (in namespaces)"

// Entered reports whether this process was started by Enter.
func Entered() bool { return os.Args[0] == marker }

// Enter runs the process' own command line again in new namespaces. In the
// first process it returns done and the exit status when that has ended; in
// the second it returns at once with done false. Mounts made there are seen
// by nobody else and vanish with it. Privilege cannot be gained any more
// (PR_SET_NO_NEW_PRIVS, prctl(2)).
func Enter(ctx context.Context, e Entry) (done bool, status Status, err error) {
	if Entered() {
		return false, Status{}, private()
	}
	if e.Isolation == Chroot && os.Geteuid() != 0 {
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

// private cuts the tie between our mounts and those of the host.
func private() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

func reexec(ctx context.Context, e Entry) (Status, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = marker
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if e.Isolation == UserNS {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: e.UID, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: e.GID, HostID: os.Getegid(), Size: 1}}
		if e.UID != 0 {
			// Without uid 0 the exec would drop the capabilities that mounting needs.
			attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_DAC_OVERRIDE}
		}
	}
	cmd.SysProcAttr = attr
	// The death signal is tied to the thread that forks, so that thread must
	// stay until the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return Status{}, fmt.Errorf("give up gaining privilege: %w", err)
	}
	stop := passSignals(ctx, cmd, e.Signals)
	if err := cmd.Start(); err != nil {
		stop()
		return Status{}, startError(err, e)
	}
	err := cmd.Wait()
	stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Status{}, fmt.Errorf("wait for the process in namespaces: %w", err)
	}
	return newStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
}

// passSignals hands signals on to the inner process once it runs. A terminal
// sends its own (interrupt, quit, stop, window size) to both processes.
func passSignals(ctx context.Context, cmd *exec.Cmd, all bool) (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	ch := make(chan os.Signal, 16)
	if all {
		signal.Notify(ch, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT)
	}
	ended := ctx.Done()
	if all {
		ended = nil
	}
	go func() {
		defer close(gone)
		for {
			select {
			case <-quit:
				return
			case <-ended:
				ended = nil
				sendTo(cmd, unix.SIGTERM)
			case s := <-ch:
				if (s == unix.SIGINT || s == unix.SIGQUIT) && foreground() {
					continue
				}
				sendTo(cmd, s)
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
		signal.Stop(ch)
	}
}

func sendTo(cmd *exec.Cmd, s os.Signal) {
	if cmd.Process != nil {
		cmd.Process.Signal(s) // it may have ended: nothing to tell it then
	}
}

// foreground reports whether we are the foreground of a terminal, which then
// sends its signals to the inner process too.
func foreground() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	pgrp, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}

// startError explains a refused clone(2) or map.
func startError(err error, e Entry) error {
	if e.Isolation != UserNS {
		return fmt.Errorf("create mount namespace: %w", err)
	}
	for _, no := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, no) {
			return &NamespaceError{Err: err, advice: namespaceAdvice()}
		}
	}
	return fmt.Errorf("create user namespace: %w", err)
}

// NamespaceError says that this host lets ordinary users have no user
// namespace.
type NamespaceError struct {
	Err    error
	advice string
}

func (e *NamespaceError) Error() string {
	return fmt.Sprintf("create user namespace: %v: this host does not allow it", root(e.Err))
}

func (e *NamespaceError) Unwrap() error { return e.Err }

// Hint says what the site must set.
func (e *NamespaceError) Hint() string { return e.advice }

// root is the innermost error, without the paths of os/exec.
func root(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// namespaceAdvice looks for the setting that forbids user namespaces.
func namespaceAdvice() string {
	for _, s := range []struct{ file, bad, advice string }{
		{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0; the administrator must set it, for example: sysctl user.max_user_namespaces=65536"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0; the administrator must set: sysctl kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor restricts user namespaces; the administrator must give virga a profile with \"userns,\", or set: sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if b, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(b)) == s.bad {
			return s.advice
		}
	}
	return "the kernel needs CONFIG_USER_NS, user.max_user_namespaces above 0, and no security policy (seccomp, SELinux, AppArmor) against it; inside another container, allow it nested user namespaces"
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
