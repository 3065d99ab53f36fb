package fakeroot

import (
	"fmt"
	"math/bits"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Level is how well the kernel lets root be emulated.
type Level int

const (
	// LevelNone: no seccomp filters.
	LevelNone Level = iota
	// LevelPlain: calls can be answered with 0, and are forgotten.
	LevelPlain
	// LevelRecorded: what is done is remembered, but only [ModeConsistent]
	// tells the programs (Linux 5.5: USER_NOTIF that can continue).
	LevelRecorded
	// LevelFaithful: programs that need it are told (the layout tag).
	LevelFaithful
)

// String names the level as `--dependencies` shows it.
func (l Level) String() string {
	names := [...]string{"none", "plain lie", "recorded", "faithful"}
	if l < 0 || int(l) >= len(names) {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return names[l]
}

// Probe finds the level of this kernel and process. why names what stands
// against the next level, and is empty at the highest.
func Probe() (level Level, why string) {
	if _, ok := archOf(runtime.GOARCH); !ok {
		return LevelNone, "no seccomp filter is known for " + runtime.GOARCH
	}
	if !actionAvailable(unix.SECCOMP_RET_ERRNO) {
		return LevelNone, "the kernel has no seccomp filters"
	}
	if !actionAvailable(unix.SECCOMP_RET_USER_NOTIF) {
		return LevelPlain, "the kernel has no seccomp user notification (Linux 5.5)"
	}
	if err := continueSupported(); err != nil {
		return LevelPlain, "the kernel's seccomp user notification cannot continue a call (Linux 5.5)"
	}
	if sizes, err := notifSizes(); err != nil || sizes.notif > maxNotif || sizes.resp > maxNotif {
		return LevelPlain, "the kernel's seccomp user notification has unknown structures"
	}
	var locks rlimit
	if errno := prlimit(0, rlimitMarker, nil, &locks); errno != 0 || locks.hard < markerBase+markerMask {
		return LevelPlain, "the hard limit of file locks, where credentials are kept, is not unlimited (ulimit -Hx)"
	}
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil || stack.Max != unix.RLIM_INFINITY {
		return LevelRecorded, "the hard limit of the stack size is not unlimited (ulimit -Hs)"
	}
	return LevelFaithful, ""
}

// actionAvailable asks seccomp(2) SECCOMP_GET_ACTION_AVAIL (Linux 4.14).
func actionAvailable(action uint32) bool {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

// continueSupported tells Linux 5.5, where SECCOMP_USER_NOTIF_FLAG_CONTINUE
// came, from 5.0. pidfd_open(2), of 5.3, and CLONE_CLEAR_SIGHAND, of 5.5, have no
// side effects but the number of a release is what distributions backport to;
// so the evidence is a later call or the release.
func continueSupported() error {
	_, _, errno := unix.RawSyscall(unix.SYS_PIDFD_GETFD, ^uintptr(0), 0, 0) // 5.6
	if errno != unix.ENOSYS {
		return nil
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return err
	}
	if major < 5 || major == 5 && minor < 5 {
		return unix.ENOSYS
	}
	return nil
}

// notifSize is struct seccomp_notif_sizes.
type notifSize struct{ notif, resp, data uint16 }

func notifSizes() (notifSize, error) {
	var s notifSize
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&s)))
	if errno != 0 {
		return s, errno
	}
	return s, nil
}

// SelfTest is a system call that succeeds only under a filter of [Program]:
// kexec_load(2) with nonsense arguments. ok is false on an architecture without.
func SelfTest() (nr uintptr, args [6]uintptr, ok bool) {
	n, ok := callNumber("kexec_load", nativeArch())
	return uintptr(n), [6]uintptr{0, ^uintptr(0), 0, ^uintptr(0)}, ok
}

// nativeArch is the architecture of this program, noArch if unknown.
func nativeArch() arch {
	a, _ := archOf(runtime.GOARCH)
	return a
}

// measureTop finds the end of this process's address space, of which the
// kernel offers several per architecture (39, 42, 47, 48 bits): the auxiliary
// vector's random bytes lie on the stack, just below it.
func measureTop(otherwise uint64) uint64 {
	const atRandom = 25
	aux, err := unix.Auxv()
	if err != nil || unsafe.Sizeof(uintptr(0)) < 8 {
		return otherwise
	}
	for _, a := range aux {
		if a[0] == atRandom {
			return 1 << bits.Len64(uint64(a[1]))
		}
	}
	return otherwise
}
