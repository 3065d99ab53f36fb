package unpriv

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// passing hands the signals that we get on to a process that stands for us.
type passing struct {
	signals chan os.Signal
	quit    chan struct{}
	ended   chan struct{} // nil until somebody listens
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

// to passes signals to a process from now on.
func (p *passing) to(proc *os.Process) {
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		for {
			select {
			case <-p.quit:
				return
			case s := <-p.signals:
				if (s == unix.SIGINT || s == unix.SIGQUIT) && foreground() {
					continue // the terminal sent it to both
				}
				proc.Signal(s) // it may have ended: nothing to tell it then
			}
		}
	}()
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
