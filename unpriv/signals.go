package unpriv

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// passing hands the signals that we get on to a process that stands for us.
type passing struct {
	signals chan os.Signal
	quit    chan struct{}
	ended   chan struct{} // nil until somebody listens
	// killed is the signal that toInit carried out.
	killed syscall.Signal
}

// passed are the signals that end or control a program and do not come from a
// terminal to all processes in the foreground, except for the first two.
var passed = [...]os.Signal{
	unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT,
}

// catchSignals begins to keep signals. Those that our caller has us ignore stay
// ignored, by both.
func catchSignals() *passing {
	p := &passing{signals: make(chan os.Signal, 32), quit: make(chan struct{})}
	for _, s := range passed {
		if !signal.Ignored(s) {
			signal.Notify(p.signals, s)
		}
	}
	return p
}

// to passes signals on from now on, by send.
func (p *passing) to(send func(syscall.Signal)) {
	p.each(func(s os.Signal) {
		if (s == unix.SIGINT || s == unix.SIGQUIT) && foreground() {
			return // the terminal sent it to both
		}
		send(s.(syscall.Signal))
	})
}

// toInit passes signals to the first process of a PID namespace. Those that
// would end any other program are not delivered to it (pid_namespaces(7)), so
// it is killed for them.
func (p *passing) toInit(proc *child) {
	p.each(func(s os.Signal) {
		sig := s.(syscall.Signal)
		if sig != unix.SIGCONT && fatal(proc.pid, sig) {
			p.killed = sig
			proc.kill()
			return
		}
		if (s == unix.SIGINT || s == unix.SIGQUIT) && foreground() {
			return
		}
		proc.signal(sig)
	})
}

// each calls f with each signal, until stop.
func (p *passing) each(f func(os.Signal)) {
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		for {
			select {
			case <-p.quit:
				return
			case s := <-p.signals:
				f(s)
			}
		}
	}()
}

// status is how a program ended that toInit may have killed.
func (p *passing) status(st Status) Status {
	if p.killed != 0 && st.Signal == unix.SIGKILL {
		st.Signal = p.killed
	}
	return st
}

// fatal reports whether a process neither catches nor ignores nor blocks a
// signal (proc_pid_status(5)).
func fatal(pid int, sig syscall.Signal) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		name, set, _ := strings.Cut(line, ":")
		if name != "SigCgt" && name != "SigIgn" && name != "SigBlk" {
			continue
		}
		if bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64); err != nil || bits&(1<<(sig-1)) != 0 {
			return false
		}
	}
	return true
}

func (p *passing) stop() {
	signal.Stop(p.signals)
	close(p.quit)
	if p.ended != nil {
		<-p.ended
	}
}

// foreground reports whether we are the foreground of a terminal, which then
// sends its signals to our children too.
func foreground() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	pgrp, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}
