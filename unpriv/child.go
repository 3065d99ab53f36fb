package unpriv

import (
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a process that we forked. os.FindProcess would do, but the first call
// of it forks once more, to find out about pidfds.
type child struct {
	pid   int
	mu    sync.Mutex
	ended bool // waited for: the number may be another's
}

// signal sends one, to a child that has not ended.
func (c *child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		unix.Kill(c.pid, s) // at worst it ends right now
	}
}

func (c *child) kill() { c.signal(unix.SIGKILL) }

// wait waits for the child's end. It is called once.
func (c *child) wait() (syscall.WaitStatus, error) {
	for { // the number stays the child's until it is reaped below
		err := unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		break
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	var ws syscall.WaitStatus
	_, err := syscall.Wait4(c.pid, &ws, 0, nil)
	return ws, err
}
