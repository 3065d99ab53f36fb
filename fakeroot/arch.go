package fakeroot

import "golang.org/x/sys/unix"

// arch numbers the system-call tables; the order is that of zsyscalls.go.
type arch int

const (
	amd64 arch = iota
	i386
	arm64
	arm
	ppc64le
	s390x
	archCount
	noArch arch = -1
)

// callRow is a system call and its number on each architecture.
type callRow struct {
	name string
	nr   [archCount]int32
}

// archInfo is what a filter and a supervisor must know of an architecture.
type archInfo struct {
	goarch string
	audit  uint32
	compat arch // the 32-bit architecture that the same kernel runs
	wide   bool // 64-bit registers and addresses
	big    bool // big-endian
	// id16: the calls without suffix take 16-bit ids, the *32 calls full ones.
	id16 bool
	// top is the end of the address space of a process, a power of two (an
	// overestimate does no harm but that more processes count as watched).
	top uint64
	// cloneFlags is the argument of clone(2) with the flags.
	cloneFlags int
	stat       statLayout
}

// x32Bit marks calls of the x32 ABI, which shares amd64's audit number.
const x32Bit = 0x40000000

var arches = [archCount]archInfo{
	amd64:   {goarch: "amd64", audit: unix.AUDIT_ARCH_X86_64, compat: i386, wide: true, top: 1 << 47, stat: statAMD64},
	i386:    {goarch: "386", audit: unix.AUDIT_ARCH_I386, compat: noArch, id16: true, top: 1 << 32, stat: statI386},
	arm64:   {goarch: "arm64", audit: unix.AUDIT_ARCH_AARCH64, compat: arm, wide: true, top: 1 << 48, stat: statGeneric},
	arm:     {goarch: "arm", audit: unix.AUDIT_ARCH_ARM, compat: noArch, id16: true, top: 3 << 30, stat: statARM},
	ppc64le: {goarch: "ppc64le", audit: unix.AUDIT_ARCH_PPC64LE, compat: noArch, wide: true, top: 1 << 47, stat: statAMD64},
	s390x:   {goarch: "s390x", audit: unix.AUDIT_ARCH_S390X, compat: noArch, wide: true, big: true, top: 1 << 42, cloneFlags: 1, stat: statS390X},
}

// archOf finds an architecture by its Go name.
func archOf(goarch string) (arch, bool) {
	for a := range arches {
		if arches[a].goarch == goarch {
			return arch(a), true
		}
	}
	return noArch, false
}

// watchedBelow is the layout tag's border. A process started with an unlimited
// stack has its libraries in the lower half of the address space (TASK_SIZE/4 to
// TASK_SIZE/2 plus at most 1/8 of randomness), any other directly below the
// stack (the top eighth). Executables that are not position-independent, and
// position-independent ones at 2/3 plus 1/8, lie below the border too: they
// are always watched, which costs time but is never wrong.
// Source: mmap_base and ELF_ET_DYN_BASE of the architectures.
func watchedBelow(top uint64) uint64 { return top / 16 * 13 }

// makingBelow is the border below which calls that make files are answered. With
// makingStack as soft limit of the stack, libraries lie between the borders:
// that much below the top, less 1/128 of randomness with the usual
// vm.mmap_rnd_bits of amd64. With more of it a program may be watched in full.
func makingBelow(top uint64) uint64 { return top / 64 * 55 }

func makingStack(top uint64) uint64 { return top / 64 * 10 }

// statLayout gives the offsets of the fields of an architecture's struct stat
// (the 64-bit-offset version); two-word fields are wide or not as sizes say.
type statLayout struct {
	size                               int
	dev, ino, ino32, mode, nlink, uid  int
	gid, rdev, length, blksize, blocks int
	atime, mtime, ctime                int
	nlinkSize, blksizeSize, timeSize   int
}

var (
	statAMD64 = statLayout{
		size: 144, dev: 0, ino: 8, ino32: -1, nlink: 16, nlinkSize: 8, mode: 24, uid: 28, gid: 32,
		rdev: 40, length: 48, blksize: 56, blksizeSize: 8, blocks: 64,
		atime: 72, mtime: 88, ctime: 104, timeSize: 8,
	}
	// statGeneric is asm-generic/stat.h.
	statGeneric = statLayout{
		size: 128, dev: 0, ino: 8, ino32: -1, mode: 16, nlink: 20, nlinkSize: 4, uid: 24, gid: 28,
		rdev: 32, length: 48, blksize: 56, blksizeSize: 4, blocks: 64,
		atime: 72, mtime: 88, ctime: 104, timeSize: 8,
	}
	statI386 = statLayout{
		size: 96, dev: 0, ino: 88, ino32: 12, mode: 16, nlink: 20, nlinkSize: 4, uid: 24, gid: 28,
		rdev: 32, length: 44, blksize: 52, blksizeSize: 4, blocks: 56,
		atime: 64, mtime: 72, ctime: 80, timeSize: 4,
	}
	statARM = statLayout{
		size: 104, dev: 0, ino: 96, ino32: 12, mode: 16, nlink: 20, nlinkSize: 4, uid: 24, gid: 28,
		rdev: 32, length: 48, blksize: 56, blksizeSize: 4, blocks: 64,
		atime: 72, mtime: 80, ctime: 88, timeSize: 4,
	}
	statS390X = statLayout{
		size: 144, dev: 0, ino: 8, ino32: -1, nlink: 16, nlinkSize: 8, mode: 24, uid: 28, gid: 32,
		rdev: 40, length: 48, atime: 56, mtime: 72, ctime: 88, timeSize: 8,
		blksize: 104, blksizeSize: 8, blocks: 112,
	}
)
