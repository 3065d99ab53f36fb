package fakeroot

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestIdentityMatchesKernel makes random calls as real root and compares each
// result, and the credentials after it, with what an identity says.
func TestIdentityMatchesKernel(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not real root, whose credentials can change")
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 400 {
		failed := make(chan string)
		go func() {
			runtime.LockOSThread() // and the thread ends with its credentials
			failed <- walkCredentials(random)
		}()
		if msg := <-failed; msg != "" {
			t.Fatalf("seed %d, round %d: %s", seed, round, msg)
		}
	}
}

// credentialCall is one of the calls on both sides.
type credentialCall struct {
	name  string
	nr    uintptr
	args  int
	model func(id identity, a [3]uint32) (identity, unix.Errno)
}

func credentialCalls() []credentialCall {
	uid := func(f func(x ids, a [3]uint32, p bool) (ids, unix.Errno)) func(identity, [3]uint32) (identity, unix.Errno) {
		return func(id identity, a [3]uint32) (identity, unix.Errno) {
			n, errno := f(id.uid, a, id.has(unix.CAP_SETUID))
			if errno != 0 {
				return id, errno
			}
			return id.withUID(n), 0
		}
	}
	gid := func(f func(x ids, a [3]uint32, p bool) (ids, unix.Errno)) func(identity, [3]uint32) (identity, unix.Errno) {
		return func(id identity, a [3]uint32) (identity, unix.Errno) {
			n, errno := f(id.gid, a, id.has(unix.CAP_SETGID))
			id.gid = n
			return id, errno
		}
	}
	one := func(x ids, a [3]uint32, p bool) (ids, unix.Errno) { return x.set(a[0], p) }
	two := func(x ids, a [3]uint32, p bool) (ids, unix.Errno) { return x.setre(a[0], a[1], p) }
	three := func(x ids, a [3]uint32, p bool) (ids, unix.Errno) { return x.setres(a[0], a[1], a[2], p) }
	return []credentialCall{
		{"setuid", unix.SYS_SETUID, 1, uid(one)},
		{"setreuid", unix.SYS_SETREUID, 2, uid(two)},
		{"setresuid", unix.SYS_SETRESUID, 3, uid(three)},
		{"setgid", unix.SYS_SETGID, 1, gid(one)},
		{"setregid", unix.SYS_SETREGID, 2, gid(two)},
		{"setresgid", unix.SYS_SETRESGID, 3, gid(three)},
		{"setfsuid", unix.SYS_SETFSUID, 1, func(id identity, a [3]uint32) (identity, unix.Errno) {
			return id.withFSUID(id.uid.setfs(a[0], id.has(unix.CAP_SETUID))), 0
		}},
		{"setfsgid", unix.SYS_SETFSGID, 1, func(id identity, a [3]uint32) (identity, unix.Errno) {
			id.gid = id.gid.setfs(a[0], id.has(unix.CAP_SETGID))
			return id, 0
		}},
	}
}

// walkCredentials returns what differed.
func walkCredentials(random *rand.Rand) string {
	id := newIdentity(Credentials{})
	id.caps = kernelCaps()
	values := []uint32{0, 1, 2, 33, noID}
	calls := credentialCalls()
	log := ""
	if random.IntN(3) == 0 {
		unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0)
		id.keepCaps = true
		log = "keepcaps "
	}
	for range 12 {
		c := calls[random.IntN(len(calls))]
		a := [3]uint32{noID, noID, noID}
		for i := range c.args {
			a[i] = values[random.IntN(len(values))]
		}
		log += fmt.Sprintf("%s(%d) ", c.name, a[:c.args])
		_, _, errno := unix.RawSyscall(c.nr, uintptr(a[0]), uintptr(a[1]), uintptr(a[2]))
		n, want := c.model(id, a)
		if c.nr == unix.SYS_SETFSUID || c.nr == unix.SYS_SETFSGID {
			errno = 0 // the result is the id before
		}
		if errno != want {
			return fmt.Sprintf("%s: kernel says %d, identity %d", log, errno, want)
		}
		id = n
		if uid, gid, caps := kernelIDs(), kernelGIDs(), kernelCaps(); uid != id.uid || gid != id.gid || caps != id.caps {
			return fmt.Sprintf("%s: kernel has %v %v %x, identity %v %v %x", log, uid, gid, caps, id.uid, id.gid, id.caps)
		}
	}
	return ""
}

func kernelIDs() ids  { return kernelThree(unix.SYS_GETRESUID, unix.SYS_SETFSUID) }
func kernelGIDs() ids { return kernelThree(unix.SYS_GETRESGID, unix.SYS_SETFSGID) }

func kernelThree(get, setfs uintptr) ids {
	var x ids
	unix.RawSyscall(get, uintptr(unsafe.Pointer(&x.real)), uintptr(unsafe.Pointer(&x.effective)), uintptr(unsafe.Pointer(&x.saved)))
	fs, _, _ := unix.RawSyscall(setfs, uintptr(noID), 0, 0)
	x.fs = uint32(fs)
	return x
}

func kernelCaps() capSets {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	unix.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])), 0)
	word := func(low, high uint32) uint64 { return uint64(low) | uint64(high)<<32 }
	return capSets{
		effective:   word(data[0].Effective, data[1].Effective),
		permitted:   word(data[0].Permitted, data[1].Permitted),
		inheritable: word(data[0].Inheritable, data[1].Inheritable),
	}
}

// TestAfterExec: what execve(2) makes of credentials.
func TestAfterExec(t *testing.T) {
	user := newIdentity(Credentials{UID: 1000, GID: 100, Groups: []uint32{100, 27}})
	if user.caps != (capSets{}) || !user.inGroup(27) || user.inGroup(28) {
		t.Errorf("a user's identity: %+v", user)
	}
	sudo := user.afterExec(program{uid: 0, setuid: true})
	if sudo.uid != (ids{1000, 0, 0, 0}) || sudo.caps.effective != allCaps {
		t.Errorf("after a setuid root program: %+v", sudo)
	}
	n, errno := sudo.uid.set(0, sudo.has(unix.CAP_SETUID))
	if errno != 0 || n != (ids{}) {
		t.Errorf("setuid(0) in a setuid root program: %v, %v", n, errno)
	}
	mail := user.afterExec(program{gid: 8, setgid: true})
	if mail.gid != (ids{100, 8, 8, 8}) || mail.caps != (capSets{}) {
		t.Errorf("after a setgid program: %+v", mail)
	}
	root := newIdentity(Credentials{})
	if got := root.afterExec(program{}); got != root {
		t.Errorf("root after exec: %+v", got)
	}
	if got := root.withUID(ids{33, 33, 33, 33}).afterExec(program{}); got.caps != (capSets{}) {
		t.Errorf("after setuid and exec: %+v", got)
	}
	if _, errno := (ids{33, 33, 33, 33}).set(0, false); errno != unix.EPERM {
		t.Errorf("setuid(0) by a user: %v, want EPERM", errno)
	}
}

// TestCapset: capabilities only shrink.
func TestCapset(t *testing.T) {
	id := newIdentity(Credentials{})
	less, errno := id.withCaps(capSets{effective: 1, permitted: 3})
	if errno != 0 || less.caps != (capSets{effective: 1, permitted: 3}) {
		t.Errorf("drop: %+v, %v", less.caps, errno)
	}
	for _, n := range []capSets{{permitted: 7}, {effective: 7, permitted: 3}, {permitted: 3, inheritable: 8}} {
		if got, errno := less.withCaps(n); errno != unix.EPERM || got != less {
			t.Errorf("raise to %+v: %v, want EPERM", n, errno)
		}
	}
}

// TestIdentities: numbers are stable, unknown ones mean the first identity, and
// there is an end.
func TestIdentities(t *testing.T) {
	first := newIdentity(Credentials{UID: 5})
	l := newIdentities(first)
	for i := range uint32(maxIdentities - 1) {
		id := first
		id.uid.real = 1000 + i
		n, ok := l.add(id)
		if again, _ := l.add(id); !ok || again != n || l.get(n) != id {
			t.Fatalf("identity %d: number %d, then %d, %v", i, n, again, ok)
		}
	}
	if _, ok := l.add(newIdentity(Credentials{UID: 6})); ok {
		t.Error("the list has no end")
	}
	if l.get(1<<20) != first {
		t.Error("an unknown number is not the first identity")
	}
}
