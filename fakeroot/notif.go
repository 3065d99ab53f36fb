package fakeroot

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxNotif is the size of the buffers for struct seccomp_notif and its
// response; the kernel's are 80 and 24 bytes and may grow.
const maxNotif = 256

// notif is struct seccomp_notif with the struct seccomp_data in it.
type notif struct {
	id    uint64
	pid   uint32 // the thread, in our PID namespace; 0 if not in it
	flags uint32
	nr    int32
	audit uint32
	ip    uint64
	args  [6]uint64
	_     [maxNotif - 80]byte
}

// notifReply is struct seccomp_notif_resp.
type notifReply struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
	_     [maxNotif - 24]byte
}

// notifAddFd is struct seccomp_notif_addfd.
type notifAddFd struct {
	id         uint64
	flags      uint32
	srcfd      uint32
	newfd      uint32
	newfdFlags uint32
}

// reply is a handler's answer.
type reply struct {
	val   int64
	errno unix.Errno
	kind  replyKind
}

type replyKind int

const (
	answer  replyKind = iota // val, or errno if it is not 0
	proceed                  // let the kernel do the call
	sent                     // answered already (ADDFD with SEND)
)

var (
	done  = reply{}
	leave = reply{kind: proceed}
)

func value(v int64) reply        { return reply{val: v} }
func failure(e unix.Errno) reply { return reply{errno: e} }

// ioctl asks the listener. A signal, of which the Go runtime sends many, may
// interrupt it before it has done anything; then it is asked again.
func ioctl(fd int, req uintptr, arg unsafe.Pointer) unix.Errno {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// errFinished says that no process is left under the filter.
var errFinished = errors.New("no process is left under the filter")

// receive waits for the next notification. A call whose thread died or was
// interrupted meanwhile is skipped: ENOENT, which since Linux 6.11 is also the
// answer at once when the last process has ended. Before, a signal of
// watchEnd ends the waiting.
func (w *worker) receive() error {
	for !w.s.stopped.Load() {
		w.req = notif{} // the kernel insists on zeroes
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(w.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&w.req)))
		switch errno {
		case 0:
			return nil
		case unix.ENOENT:
			if hungUp(w.listener, 0) {
				w.s.stopped.Store(true)
			}
		case unix.EINTR:
		default:
			return fmt.Errorf("receive seccomp notification: %w", errno)
		}
	}
	return errFinished
}

// respond sends the answer; that the thread has died meanwhile is no error.
func (w *worker) respond(r reply) error {
	if r.kind == sent {
		return nil
	}
	w.resp = notifReply{id: w.req.id, val: r.val}
	if r.kind == proceed {
		w.resp.val, w.resp.flags = 0, unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	} else if r.errno != 0 {
		w.resp.val, w.resp.errno = 0, -int32(r.errno)
	}
	switch errno := ioctl(w.listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&w.resp)); errno {
	case 0, unix.ENOENT, unix.EINPROGRESS:
		return nil
	default:
		return fmt.Errorf("answer seccomp notification: %w", errno)
	}
}

// alive reports whether the thread is still in the call, that is: whether what
// was read under its number was its own. It must be asked after reading and
// before anything is changed.
func (w *worker) alive() bool {
	return ioctl(w.listener, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&w.req.id)) == 0
}

// addFd gives fd to the thread as the result of its call.
//
// A signal while the kernel waits for the thread to take it would have the
// call answered with 0, as if that were the handle (seen with Linux 6.18), so
// signals wait.
func (w *worker) addFd(fd int, cloexec bool) reply {
	a := notifAddFd{id: w.req.id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, srcfd: uint32(fd)}
	if cloexec {
		a.newfdFlags = unix.O_CLOEXEC
	}
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return failure(unix.EIO)
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(w.listener), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(&a)))
	kind := sent
	if errno == unix.EINVAL { // before 5.14 there are two steps
		a.flags, kind = 0, answer
		n, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(w.listener), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(&a)))
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	return reply{val: int64(n), errno: errno, kind: kindOf(kind, errno)}
}

// kindOf: an error is always still to be answered.
func kindOf(kind replyKind, errno unix.Errno) replyKind {
	if errno != 0 {
		return answer
	}
	return kind
}
