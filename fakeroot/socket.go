package fakeroot

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// borrow returns a duplicate of a thread's handle.
func (w *worker) borrow(fd uint64) (int, unix.Errno) {
	// A PID handle is of a process; PIDFD_THREAD came with Linux 6.9.
	tgid := w.threadGroup()
	if tgid == 0 {
		return -1, unix.ESRCH
	}
	process, err := unix.PidfdOpen(tgid, 0)
	if err != nil {
		return -1, err.(unix.Errno)
	}
	defer unix.Close(process)
	dup, err := unix.PidfdGetfd(process, int(fd), 0)
	if err != nil {
		return -1, err.(unix.Errno)
	}
	if !w.alive() {
		unix.Close(dup)
		return -1, unix.ESRCH
	}
	return dup, 0
}

// bind makes the socket file of a process that is not root: its owner must be
// recorded.
func bind(w *worker) reply {
	id := w.identity()
	size := min(w.req.args[2], unix.SizeofSockaddrUnix)
	addr := make([]byte, size)
	if id.makes(&w.s.records.maker) || size < 4 || w.readMemory(addr, w.req.args[1]) != len(addr) {
		return leave
	}
	if w.order().Uint16(addr) != unix.AF_UNIX || addr[2] == 0 {
		return leave
	}
	m, ok := w.makes(target{dir: unix.AT_FDCWD, path: w.req.args[1] + 2, nofollow: true}, false)
	if !ok {
		return leave
	}
	defer unix.Close(m.dir)
	sock, errno := w.borrow(w.req.args[0])
	if errno != 0 {
		return leave
	}
	defer unix.Close(sock)
	return w.finish(&m, w.bindIn(sock, &m), nil)
}

// bindIn binds a socket to a name in a directory: the address has no room for
// more, so the directory becomes the working directory for a moment.
func (w *worker) bindIn(sock int, m *making) unix.Errno {
	mask := w.umask()
	proc, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return unix.ENOMEM
	}
	defer unix.Close(proc)
	if err := unix.Fchdir(m.dir); err != nil {
		return err.(unix.Errno)
	}
	var sa unix.RawSockaddrUnix
	sa.Family = unix.AF_UNIX
	for i, c := range m.base {
		if i >= len(sa.Path) {
			break
		}
		sa.Path[i] = int8(c)
	}
	unix.Umask(mask)
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(sock), uintptr(unsafe.Pointer(&sa)), 2+uintptr(min(len(m.base), len(sa.Path))))
	unix.Umask(0)
	if err := unix.Fchdir(proc); err != nil {
		panic("BUG: the way back to /proc is lost: " + err.Error())
	}
	return errno
}

// peercred answers getsockopt(SO_PEERCRED) with what the peer believes to be.
func peercred(w *worker) reply {
	if w.s.ids.single() && w.s.ids.get(0).uid == (ids{}) {
		return leave
	}
	sock, errno := w.borrow(w.req.args[0])
	if errno != 0 {
		return leave
	}
	defer unix.Close(sock)
	theirs, err := unix.GetsockoptUcred(sock, unix.SOL_SOCKET, unix.SO_PEERCRED)
	length, errno := w.readWords(1, w.req.args[4])
	if err != nil || errno != 0 || length[0] != unix.SizeofUcred || theirs.Pid <= 0 || theirs.Uid != 0 {
		return leave
	}
	// The numbers of the answer are in the thread's PID namespace, those here in
	// ours: only the ids are changed, behind the kernel's own answer.
	id := w.identityOf(uint32(theirs.Pid))
	if id.plainRoot() {
		return leave
	}
	pid := w.pidSeenBy(theirs.Pid)
	if pid == 0 {
		return leave
	}
	return failure(w.writeWords(w.req.args[3], pid, id.uid.effective, id.gid.effective))
}
