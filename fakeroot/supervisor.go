package fakeroot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Credentials are the ids that a program starts with: a Dockerfile's USER.
type Credentials struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups
}

// Options for a [Supervisor]. Records is required.
type Options struct {
	Mode    Mode
	Level   Level
	Records *Records
	// Proc is /proc of the PID namespace that the supervising thread lives in
	// (not the container's), opened before the container's root is entered.
	// nil means that /proc as seen by Serve is it.
	Proc *os.File
	// Upper is the overlay's upper directory, which tells new files from lower
	// ones that were copied up; nil if there is no overlay.
	Upper *os.File
	// User are the credentials of the first program; zero is root.
	User Credentials
	// Log takes what a user of --debug would want to know; nil is silence.
	Log *slog.Logger
}

// Supervisor answers the notifications of a filter made by [Program].
type Supervisor struct {
	options  Options
	records  *Records
	log      *slog.Logger
	ids      *identities
	native   arch
	handlers [archCount]map[int32]handling
	stack    stackLimits
	stopped  atomic.Bool

	// current is the worker that serves; see watch.go.
	current atomic.Pointer[worker]

	received, continued atomic.Uint64
	calls               [len(callNumbers)]atomic.Uint64 // received, by callNumbers
}

// handler answers the notification in w.req.
type handler func(w *worker) reply

// handling is a handler and the width of the call's ids.
type handling struct {
	row   int // in callNumbers
	do    handler
	short bool
}

// New makes a supervisor.
func New(o Options) (*Supervisor, error) {
	if o.Records == nil {
		return nil, errors.New("make supervisor: BUG: no records")
	}
	native := nativeArch()
	if native == noArch {
		return nil, errors.New("make supervisor: architecture is not supported")
	}
	s := &Supervisor{options: o, records: o.Records, log: o.Log, native: native}
	if s.log == nil {
		s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s.records.started = time.Now().UnixNano()
	if s.tellsNew() {
		s.records.maker = Record{UID: o.User.UID, GID: o.User.GID}
	}
	s.ids = newIdentities(newIdentity(o.User))
	s.stack = newStackLimits(o)
	all := handlers()
	for _, a := range []arch{native, arches[native].compat} {
		if a == noArch {
			continue
		}
		s.handlers[a] = map[int32]handling{}
		for i, row := range callNumbers {
			if do, ok := all[row.name]; ok && row.nr[a] >= 0 {
				s.handlers[a][row.nr[a]] = handling{i, do, arches[a].id16 && hasShortIDs(row.name)}
			}
		}
	}
	return s, nil
}

// tellsNew reports whether files that were made since the start can be told from
// others: in an overlay always, otherwise only by their time of birth. Then the
// files that the first user makes need not be recorded one by one.
func (s *Supervisor) tellsNew() bool {
	if s.options.Upper == nil {
		return false
	}
	if !s.records.inPlace {
		return true
	}
	var st unix.Statx_t
	err := unix.Statx(int(s.options.Upper.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	return err == nil && st.Mask&unix.STATX_BTIME != 0
}

// worker is a thread that serves, with its buffers: a notification is answered
// without allocating, in most cases.
type worker struct {
	s        *Supervisor
	listener int
	req      notif
	resp     notifReply
	abi      arch
	short    bool // the current call has 16-bit ids
	st       unix.Statx_t
	pathBuf  [4096]byte
	linkBuf  [64]byte
	joinBuf  [4096 + 64]byte
	busy     atomic.Uint64 // id of the notification being handled
	thread   atomic.Int32  // its number, for signals
	ended    chan struct{} // closed after the last one, with err
	err      error
}

// Serve answers notifications until no process is left under the filter. It
// must be called on a locked OS thread (which it changes:
// working directory, umask; let it end with its goroutine), inside the
// container's mount namespace and root, in the user namespace that the container
// runs in, and not under the filter. It does not close listener.
func (s *Supervisor) Serve(listener int) error {
	if err := s.enter(); err != nil {
		return err
	}
	// The thread that waits for an answer is woken on this CPU (Linux 6.6):
	// half the time per call. Other kernels refuse, and do without.
	unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	w := &worker{s: s, listener: listener}
	s.current.Store(w)
	unwatch := s.watch(w)
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		s.watchEnd(listener, ended)
		close(over)
	}()
	w.err = w.serve()
	for w != s.current.Load() { // another has taken over
		w = s.current.Load()
		<-w.ended
	}
	close(ended)
	<-over
	unwatch()
	st := s.Stats()
	s.log.Debug("root emulation ended", "notifications", st.Notifications, "continued", st.Continued, "records", st.Recorded, "calls", s.tally())
	return w.err
}

// enter prepares the calling thread: its working directory becomes /proc.
func (s *Supervisor) enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("start supervisor: unshare: %w", err)
	}
	unix.Umask(0)
	if s.options.Proc != nil {
		if err := unix.Fchdir(int(s.options.Proc.Fd())); err != nil {
			return fmt.Errorf("start supervisor: change directory to %s: %w", s.options.Proc.Name(), err)
		}
	} else if err := unix.Chdir("/proc"); err != nil {
		return fmt.Errorf("start supervisor: change directory to /proc: %w", err)
	}
	// Wrong numbers would have us look at other processes.
	buf := make([]byte, 32)
	n, err := unix.Readlink("self", buf)
	if err != nil || string(buf[:n]) != strconv.Itoa(os.Getpid()) {
		return errors.New("start supervisor: /proc is not of its PID namespace")
	}
	return nil
}

func (w *worker) serve() error {
	w.thread.Store(int32(unix.Gettid()))
	for {
		if err := w.receive(); err != nil {
			if err == errFinished {
				return nil
			}
			return err
		}
		w.s.received.Add(1)
		w.busy.Store(w.req.id)
		r := w.handle()
		if r.kind == proceed {
			w.s.continued.Add(1)
		}
		if err := w.respond(r); err != nil {
			return err
		}
		w.busy.Store(0)
		if w.s.current.Load() != w {
			return nil
		}
	}
}

// handle finds and calls the handler.
func (w *worker) handle() reply {
	for _, a := range []arch{w.s.native, arches[w.s.native].compat} {
		if a == noArch || arches[a].audit != w.req.audit {
			continue
		}
		h, ok := w.s.handlers[a][w.req.nr]
		if !ok {
			break
		}
		w.abi, w.short = a, h.short
		w.s.calls[h.row].Add(1)
		r := h.do(w)
		if w.s.log.Enabled(context.Background(), levelTrace) {
			w.trace(callNumbers[h.row].name, r)
		}
		return r
	}
	return leave
}

// levelTrace is below debug: a line for each notification.
const levelTrace = slog.LevelDebug - 4

func (w *worker) trace(name string, r reply) {
	w.s.log.Log(context.Background(), levelTrace, name, "pid", w.req.pid,
		"args", fmt.Sprintf("%#x", w.req.args), "value", r.val, "errno", int(r.errno), "kind", int(r.kind))
}

// tally lists the calls that were received, the most frequent first.
func (s *Supervisor) tally() string {
	rows := make([]int, 0, len(callNumbers))
	for i := range callNumbers {
		if s.calls[i].Load() > 0 {
			rows = append(rows, i)
		}
	}
	slices.SortStableFunc(rows, func(i, j int) int { return cmp.Compare(s.calls[j].Load(), s.calls[i].Load()) })
	words := make([]string, len(rows))
	for i, row := range rows {
		words[i] = fmt.Sprintf("%s:%d", callNumbers[row].name, s.calls[row].Load())
	}
	return strings.Join(words, " ")
}

// Stats counts what a supervisor did.
type Stats struct {
	Notifications uint64 // received
	Continued     uint64 // left to the kernel
	Recorded      int    // records in memory
}

// Stats returns the counts so far, from any goroutine.
func (s *Supervisor) Stats() Stats {
	return Stats{s.received.Load(), s.continued.Load(), s.records.Len()}
}

// The layouts of the kernel's structures, checked by the compiler.
var (
	_ [maxNotif]byte = [unsafe.Sizeof(notif{})]byte{}
	_ [maxNotif]byte = [unsafe.Sizeof(notifReply{})]byte{}
	_ [24]byte       = [unsafe.Sizeof(notifAddFd{})]byte{}
)
