package fakeroot

import "golang.org/x/sys/unix"

// Verdicts of the filter.
const (
	verdictAllow  uint32 = unix.SECCOMP_RET_ALLOW
	verdictZero   uint32 = unix.SECCOMP_RET_ERRNO // errno 0: the call "succeeds"
	verdictNosys  uint32 = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	verdictNotify uint32 = unix.SECCOMP_RET_USER_NOTIF
)

// testKind says what a test looks at.
type testKind int

const (
	argEquals   testKind = iota // arg & mask == want
	argHasBits                  // arg & mask != 0
	argNonNull                  // a pointer that is not null
	layoutSees                  // the layout tag: what the caller sees is answered
	layoutMakes                 // the layout tag: what the caller makes is recorded
)

// test is a condition on a call; numbers are the low 32 bits of the argument.
type test struct {
	kind       testKind
	arg        int
	mask, want uint32
}

// clause gives a verdict if all tests hold.
type clause struct {
	tests   []test
	verdict uint32
}

// rule says what happens to some calls: the first clause that holds, else they
// are allowed.
type rule struct {
	calls   string // names, separated by blanks
	clauses []clause
}

func always(v uint32) []clause { return []clause{{verdict: v}} }

func when(v uint32, t ...test) []clause { return []clause{{tests: t, verdict: v}} }

// The groups of calls. Names that an architecture does not have are skipped.
const (
	chownCalls = "chown fchown lchown fchownat chown32 fchown32 lchown32"
	setidCalls = "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups " +
		"setuid32 setgid32 setreuid32 setregid32 setresuid32 setresgid32 setfsuid32 setfsgid32 setgroups32"
	getidCalls = "getuid geteuid getgid getegid getresuid getresgid getgroups " +
		"getuid32 geteuid32 getgid32 getegid32 getresuid32 getresgid32 getgroups32"
	syncCalls     = "fsync fdatasync sync syncfs sync_file_range sync_file_range2 arm_sync_file_range"
	setxattrCalls = "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"
	getxattrCalls = "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr"
	// xattratCalls (Linux 6.13) have fall-backs in every libc that knows them.
	xattratCalls = "setxattrat getxattrat listxattrat removexattrat"
	statCalls    = "stat lstat fstat newfstatat statx stat64 lstat64 fstat64 fstatat64"
	makeCalls    = "mkdir mkdirat symlink symlinkat creat bind"
)

// isDevice matches the mode argument of mknod(2).
func isDevice(v uint32, arg int) []clause {
	return []clause{
		{tests: []test{{kind: argEquals, arg: arg, mask: unix.S_IFMT, want: unix.S_IFCHR}}, verdict: v},
		{tests: []test{{kind: argEquals, arg: arg, mask: unix.S_IFMT, want: unix.S_IFBLK}}, verdict: v},
	}
}

// baseRules hold at every level. io_uring would do behind the filter's back
// what the filter looks for; programs that use it fall back. kexec_load never
// works in a user namespace, so that its success shows the filter; see [SelfTest].
func baseRules(keepSync bool) []rule {
	rules := []rule{
		{"kexec_load", always(verdictZero)},
		{"io_uring_setup", always(verdictNosys)},
	}
	if !keepSync {
		rules = append(rules, rule{syncCalls, always(verdictZero)})
	}
	return rules
}

// plainRules lie and forget.
func plainRules() []rule {
	return []rule{
		{chownCalls, always(verdictZero)},
		{setidCalls, always(verdictZero)},
		{"capset", always(verdictZero)},
		{"mknod", isDevice(verdictZero, 1)},
		{"mknodat", isDevice(verdictZero, 2)},
	}
}

// rlimitMarker is the resource in which the supervisor keeps a process's
// credentials; see marker.go.
const rlimitMarker = 10 // RLIMIT_LOCKS

// recordedRules ask the supervisor about what changes owners and credentials.
func recordedRules(cloneFlags int) []rule {
	const away = unix.CLONE_NEWNS | unix.CLONE_NEWUSER
	marker := test{kind: argEquals, arg: 0, mask: ^uint32(0), want: rlimitMarker}
	marker64 := marker
	marker64.arg = 1
	return []rule{
		{chownCalls, always(verdictNotify)},
		{setidCalls, always(verdictNotify)},
		{getidCalls, always(verdictNotify)},
		{"capset capget", always(verdictNotify)},
		{setxattrCalls, always(verdictNotify)},
		{xattratCalls, always(verdictNosys)},
		{"execve execveat", always(verdictNotify)},
		{"chroot pivot_root setns", always(verdictNotify)},
		{"unshare", when(verdictNotify, test{kind: argHasBits, arg: 0, mask: away})},
		{"clone", when(verdictNotify, test{kind: argHasBits, arg: cloneFlags, mask: away})},
		{"prctl", when(verdictNotify, test{kind: argEquals, arg: 0, mask: ^uint32(0), want: unix.PR_SET_KEEPCAPS})},
		{"setrlimit", when(verdictZero, marker)},
		{"prlimit64", when(verdictZero, marker64, test{kind: argNonNull, arg: 2})},
		{"getsockopt", when(verdictNotify,
			test{kind: argEquals, arg: 1, mask: ^uint32(0), want: unix.SOL_SOCKET},
			test{kind: argEquals, arg: 2, mask: ^uint32(0), want: unix.SO_PEERCRED})},
	}
}

// watchedRules ask it about what shows owners and makes files, for watched
// programs; for all programs they are [ModeConsistent].
func watchedRules(everyone bool) []rule {
	var sees, makes []test
	if !everyone {
		sees, makes = []test{{kind: layoutSees}}, []test{{kind: layoutMakes}}
	}
	creates := func(arg int) []clause {
		t := test{kind: argHasBits, arg: arg, mask: unix.O_CREAT | tmpfileBit}
		return when(verdictNotify, append([]test{t}, makes...)...)
	}
	rules := []rule{
		{statCalls, when(verdictNotify, sees...)},
		{getxattrCalls, when(verdictNotify, sees...)},
		{makeCalls, when(verdictNotify, makes...)},
		{"openat2", when(verdictNotify, makes...)},
		{"open", creates(1)},
		{"openat", creates(2)},
	}
	for i, call := range []string{"mknod", "mknodat"} {
		arg := i + 1
		rules = append(rules, rule{call, append(isDevice(verdictNotify, arg), when(verdictNotify, makes...)...)})
	}
	return rules
}

// tmpfileBit is __O_TMPFILE without the O_DIRECTORY that O_TMPFILE includes; it
// is the same on all the architectures here.
const tmpfileBit = 0x400000

// rulesFor lists the rules of a mode and level.
func rulesFor(mode Mode, level Level, keepSync bool, cloneFlags int) []rule {
	rules := baseRules(keepSync)
	switch {
	case mode == ModePlain || level <= LevelPlain:
		return append(rules, plainRules()...)
	case mode == ModeConsistent || level >= LevelFaithful:
		return append(append(rules, recordedRules(cloneFlags)...), watchedRules(mode == ModeConsistent)...)
	}
	rules = append(rules, recordedRules(cloneFlags)...)
	return append(rules, rule{"mknod", isDevice(verdictNotify, 1)}, rule{"mknodat", isDevice(verdictNotify, 2)})
}
