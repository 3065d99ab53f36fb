package fakeroot

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A thread that serves may get stuck in a file system, for example in one that
// a program in the container serves (FUSE) and that waits for an answer itself.
// Then another takes over, and the stuck one ends when it comes back: two that
// serve at once would halve the speed.
const (
	stuckAfter = 500 * time.Millisecond
	maxWorkers = 16
)

// stand is where a worker's thread is, as handles.
type stand struct{ mounts, root, proc int }

// standHere makes handles of the calling thread's place, 0 for none.
func standHere() (st stand, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	st = stand{-1, -1, -1}
	st.mounts, err = unix.Open(fmt.Sprintf("self/task/%d/ns/mnt", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		st.root, err = unix.Open("/", flags, 0)
	}
	if err == nil {
		st.proc, err = unix.Open(".", flags, 0)
	}
	if err != nil {
		st.close()
	}
	return st, err
}

func (st stand) close() {
	for _, fd := range []int{st.mounts, st.root, st.proc} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// enter brings the calling thread there.
func (st stand) enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(st.mounts, unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Fchdir(st.root); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	unix.Umask(0)
	return unix.Fchdir(st.proc)
}

// watchEnd stops the workers when no process is left under the filter: waiting
// for a notification does not notice that on older kernels, so a signal
// interrupts it until the worker has seen it. The Go runtime uses and ignores
// SIGURG.
func (s *Supervisor) watchEnd(listener int, ended <-chan struct{}) {
	for !s.stopped.Load() {
		if hungUp(listener, 200) {
			s.stopped.Store(true)
		}
	}
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		unix.Tgkill(os.Getpid(), int(s.current.Load().thread.Load()), unix.SIGURG)
		select {
		case <-ended:
			return
		case <-time.After(wait):
		}
	}
}

// hungUp waits for the end of the last process under the filter, so many
// milliseconds at most. No event is asked for, and POLLHUP comes unasked (Linux
// 5.9).
func hungUp(listener, wait int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(listener)}}, wait)
	return n > 0 || err != nil && err != unix.EINTR
}

// watch looks after the current worker, the caller's at first; the function it
// returns ends that.
func (s *Supervisor) watch(first *worker) (unwatch func()) {
	st, err := standHere()
	if err != nil {
		s.log.Debug("root emulation has one thread only", "cause", err)
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer st.close()
		tick := time.NewTicker(stuckAfter)
		defer tick.Stop()
		last, workers := uint64(0), 1
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			now := s.current.Load().busy.Load()
			if now != 0 && now == last && workers < maxWorkers && s.relieve(first.listener, st) {
				workers++
			}
			last = now
		}
	}()
	return func() { close(quit); <-ended }
}

// relieve has a further worker take over, on a thread of its own in the same
// place.
func (s *Supervisor) relieve(listener int, st stand) bool {
	w := &worker{s: s, listener: listener, ended: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(w.ended)
		runtime.LockOSThread() // never unlocked: the thread ends with us
		err := st.enter()
		if err == nil {
			s.current.Store(w)
		}
		ready <- err
		if err == nil {
			w.err = w.serve()
		}
	}()
	if err := <-ready; err != nil {
		s.log.Debug("root emulation is stuck in a file system, and cannot start another thread", "cause", err)
		return false
	}
	s.log.Debug("root emulation is stuck in a file system; another thread has taken over")
	return true
}
