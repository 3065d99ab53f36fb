package fakeroot

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process's identity must follow it through fork, exec, the death of its
// parent and the reuse of numbers. The kernel keeps one thing per process that
// does so, that the supervisor may set and read from outside at 0.4 µs, and that
// has no other meaning: the soft limit RLIMIT_LOCKS, unused since Linux 2.4.25
// (getrlimit(2)). The supervisor stores there a number of its own list; the filter
// keeps programs from changing it. A program that does so nevertheless gains
// nothing but a wrong answer to getuid(2).

// markerBase is added to the numbers and markerMask splits them off; the sum
// fits a 32-bit kernel's limits, and no administrator would choose it.
const (
	markerBase = 0x3934_0000
	markerMask = 0xffff
)

// maxIdentities bounds the list against a program that counts through ids.
const maxIdentities = markerMask + 1

// identities is the list of identities that processes have or had.
type identities struct {
	mu     sync.Mutex
	list   []identity
	number map[identity]uint32
}

func newIdentities(first identity) *identities {
	return &identities{list: []identity{first}, number: map[identity]uint32{first: 0}}
}

// get returns an identity by number, the first for an unknown one.
func (l *identities) get(n uint32) identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(n) >= len(l.list) {
		n = 0
	}
	return l.list[n]
}

// add returns the number of an identity; ok is false if there are too many.
func (l *identities) add(id identity) (n uint32, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, ok := l.number[id]; ok {
		return n, true
	}
	if len(l.list) >= maxIdentities {
		return 0, false
	}
	n = uint32(len(l.list))
	l.list = append(l.list, id)
	l.number[id] = n
	return n, true
}

// single reports whether every process has the first identity.
func (l *identities) single() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list) == 1
}

// rlimit is struct rlimit64.
type rlimit struct{ soft, hard uint64 }

// prlimit is prlimit64(2); it accepts threads and does not allocate.
func prlimit(pid uint32, resource int, set, get *rlimit) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, uintptr(pid), uintptr(resource),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
	return errno
}

// identity returns the calling process's.
func (w *worker) identity() identity { return w.identityOf(w.req.pid) }

func (w *worker) identityOf(pid uint32) identity {
	if w.s.ids.single() || pid == 0 {
		return w.s.ids.get(0)
	}
	var l rlimit
	if errno := prlimit(pid, rlimitMarker, nil, &l); errno != 0 || l.soft&^markerMask != markerBase {
		return w.s.ids.get(0)
	}
	return w.s.ids.get(uint32(l.soft & markerMask))
}

// become gives the calling process an identity.
func (w *worker) become(id identity) unix.Errno {
	n, ok := w.s.ids.add(id)
	if !ok {
		return unix.EAGAIN
	}
	var l rlimit
	if errno := prlimit(w.req.pid, rlimitMarker, nil, &l); errno != 0 {
		return errno
	}
	l.soft = markerBase + uint64(n)
	if l.soft > l.hard || !w.alive() {
		return unix.EAGAIN
	}
	return prlimit(w.req.pid, rlimitMarker, &l, nil)
}
