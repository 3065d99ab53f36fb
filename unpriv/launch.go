package unpriv

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// launch is a process in the making: the script that it is to perform, and the
// socket that connects it to us until its program runs. An end of file there
// means that it does, or is dead.
type launch struct {
	script
	name         string  // of the program, for errors
	flags        uintptr // namespaces to create
	ours, theirs int
	copyMemory   bool // the script has a step that a process which shares memory may not do
	rootfs       bool // the host's root may be one that cannot be left
	// supervise, if set, is called on a thread inside the container with the
	// listener that the script sends.
	supervise func(listener int) error
}

func newLaunch(name string) (*launch, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", name, err)
	}
	return &launch{name: name, ours: fds[0], theirs: fds[1], rootfs: inMemory()}, nil
}

// close lets go of the socket.
func (l *launch) close() {
	for _, fd := range []*int{&l.ours, &l.theirs} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// run starts the process and waits for its end; started, if not nil, is called
// as soon as the program runs. The end of ctx kills it.
func (l *launch) run(ctx context.Context, started func(*child)) (Status, error) {
	defer l.close()
	if l.err != nil {
		return Status{}, l.err
	}
	// The child dies with the thread that forks it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := l.start()
	if err != nil {
		return Status{}, err
	}
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	served, startErr := l.accompany(p, started)
	ws, err := p.wait()
	runtime.KeepAlive(l) // the child may have used our memory so far
	var superErr error
	if served != nil {
		superErr = <-served
	}
	switch {
	case startErr != nil:
		return Status{}, startErr
	case err != nil:
		return Status{}, fmt.Errorf("wait for %q: %w", l.name, err)
	case superErr != nil:
		return Status{}, fmt.Errorf("supervise %q: %w", l.name, superErr)
	}
	return newStatus(ws), nil
}

// start forks.
func (l *launch) start() (*child, error) {
	prog := &program{steps: l.steps, report: uintptr(l.theirs)}
	if sharesMemory && !l.copyMemory {
		prog.stack = make([]byte, childStack)
	}
	l.keep = append(l.keep, prog)
	l.setMask(&prog.mask)
	pid, err := fork(l.flags, prog)
	unix.Close(l.theirs)
	l.theirs = -1
	if err != nil {
		if l.flags&unix.CLONE_NEWUSER != 0 && forbidden(err) {
			return nil, newNamespaceError(err)
		}
		return nil, fmt.Errorf("start %q: create namespaces: %w", l.name, err)
	}
	return &child{pid: pid}, nil
}

// maskStep marks the step that restores the signal mask, known at the fork only.
const maskStep = unix.SYS_RT_SIGPROCMASK

func (l *launch) setMask(mask *uint64) {
	for i := range l.steps {
		if l.steps[i].nr == maskStep {
			l.steps[i].args[1] = l.address(unsafe.Pointer(mask))
		}
	}
}

// accompany talks to the child until its program runs. It returns the reason
// why that does not, and what the supervisor's end will be told by.
func (l *launch) accompany(p *child, started func(*child)) (served chan error, err error) {
	for {
		var word [8]byte
		oob := make([]byte, unix.CmsgSpace(3*4))
		n, oobn, _, _, err := unix.Recvmsg(l.ours, word[:], oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECONNRESET): // dead before it took leave
			return served, nil
		case err != nil:
			p.kill()
			return served, fmt.Errorf("start %q: %w", l.name, err)
		case n == 0:
			if started != nil {
				started(p)
			}
			return served, nil
		case oobn == 0:
			f := *(*failure)(unsafe.Pointer(&word))
			return served, l.explain(f)
		}
		in, err := receiveInside(oob[:oobn])
		if err == nil {
			served, err = in.supervise(l.supervise, p.kill)
		}
		if err == nil {
			if err = unix.Sendto(l.ours, word[:1], unix.MSG_NOSIGNAL, nil); errors.Is(err, unix.EPIPE) {
				return served, nil // dead already
			}
		}
		if err != nil {
			p.kill()
			return served, fmt.Errorf("start %q: supervisor: %w", l.name, err)
		}
	}
}

// inside are handles that lead into a container.
type inside struct{ listener, mounts, root int }

func receiveInside(oob []byte) (inside, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return inside{}, err
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return inside{}, err
	}
	if len(fds) != 3 {
		return inside{}, fmt.Errorf("BUG: %d handles came", len(fds))
	}
	return inside{fds[0], fds[1], fds[2]}, nil
}

func (in inside) close() {
	unix.Close(in.listener)
	unix.Close(in.mounts)
	unix.Close(in.root)
}

// supervise calls f on a thread of its own inside the container, and returns
// when that thread is there. If f fails, the container is killed, as its calls
// are answered by nobody.
func (in inside) supervise(f func(listener int) error, kill func()) (served chan error, err error) {
	served, entered := make(chan error, 1), make(chan error)
	onOwnThread(func() {
		leave, err := in.enter()
		entered <- err
		if err == nil {
			err = f(in.listener)
		}
		in.close()
		if err != nil {
			kill()
		}
		leave()
		served <- err
	})
	if err := <-entered; err != nil {
		return nil, err
	}
	return served, nil
}

// onOwnThread calls f in a goroutine whose thread ends with it: what f changes
// of the thread touches nobody else. It is not the main thread, which Go cannot
// end and whose state /proc/self shows.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		started := make(chan struct{})
		go func() { // on another thread, as this one is taken
			runtime.LockOSThread()
			close(started)
			f()
		}()
		<-started
		runtime.UnlockOSThread()
	}()
}

// enter brings the calling thread into the container. leave takes it out, so
// that its mounts end when its last process does and not when the thread has
// found time to.
func (in inside) enter() (leave func(), err error) {
	leave = func() {}
	// The thread's own working directory and root.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return leave, err
	}
	before, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return leave, err
	}
	leave = func() {
		unix.Setns(before, unix.CLONE_NEWNS) // at worst, leaving takes as long as ending
		unix.Close(before)
	}
	if err := unix.Setns(in.mounts, unix.CLONE_NEWNS); err != nil {
		return leave, err
	}
	if err := unix.Fchdir(in.root); err != nil {
		return leave, err
	}
	return leave, unix.Chroot(".")
}
