package fakeroot

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is a struct seccomp_data to be.
type call struct {
	arch uint32
	nr   uint32
	ip   uint64
	args [6]uint64
}

// run executes a filter in a virtual machine. The machine loads words in
// network order, so each word of the data is stored that way.
func run(t *testing.T, prog []unix.SockFilter, big bool, c call) uint32 {
	t.Helper()
	raw := make([]bpf.Instruction, len(prog))
	for i, in := range prog {
		raw[i] = bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble()
	}
	vm, err := bpf.NewVM(raw)
	if err != nil {
		t.Fatalf("filter is refused by the virtual machine: %v", err)
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[dataNr:], c.nr)
	binary.BigEndian.PutUint32(data[dataArch:], c.arch)
	for i, v := range append([]uint64{c.ip}, c.args[:]...) {
		low, high := dataIP+8*i, dataIP+8*i+4
		if big {
			low, high = high, low
		}
		binary.BigEndian.PutUint32(data[low:], uint32(v))
		binary.BigEndian.PutUint32(data[high:], uint32(v>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatalf("run filter: %v", err)
	}
	return uint32(got)
}

// everyABI calls f for each native architecture and each ABI it runs.
func everyABI(t *testing.T, o ProgramOptions, f func(t *testing.T, prog []unix.SockFilter, a arch, big bool)) {
	for native := range archCount {
		if arches[native].compat == noArch && !arches[native].wide && native != i386 && native != arm {
			continue
		}
		o.Arch = arches[native].goarch
		prog, err := Program(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(prog) == 0 || len(prog) > maxProgram {
			t.Fatalf("%s: %d instructions", o.Arch, len(prog))
		}
		for _, abi := range []arch{native, arches[native].compat} {
			if abi != noArch {
				t.Run(arches[native].goarch+"/"+arches[abi].goarch, func(t *testing.T) { f(t, prog, abi, arches[native].big) })
			}
		}
	}
}

// TestVerdicts runs every call of the tables through every filter.
func TestVerdicts(t *testing.T) {
	high := func(a arch) uint64 { return makingBelow(arches[a].top) }
	low := func(a arch) uint64 { return watchedBelow(arches[a].top) - 1 }
	between := func(a arch) uint64 { return makingBelow(arches[a].top) - 1 }
	type row struct {
		calls string
		args  [6]uint64
		// Verdicts in plain, recorded, faithful weak, faithful watched, consistent.
		plain, recorded, weak, watched, consistent uint32
		sees                                       bool // nothing to a program that is watched for what it makes
	}
	const (
		A, Z, S, N = verdictAllow, verdictZero, verdictNosys, verdictNotify
		chr, reg   = unix.S_IFCHR | 0o600, unix.S_IFREG | 0o644
	)
	rows := []row{
		{calls: chownCalls, plain: Z, recorded: N, weak: N, watched: N, consistent: N},
		{calls: setidCalls, plain: Z, recorded: N, weak: N, watched: N, consistent: N},
		{calls: getidCalls, plain: A, recorded: N, weak: N, watched: N, consistent: N},
		{calls: "capset", plain: Z, recorded: N, weak: N, watched: N, consistent: N},
		{calls: syncCalls + " kexec_load", plain: Z, recorded: Z, weak: Z, watched: Z, consistent: Z},
		{calls: "io_uring_setup", plain: S, recorded: S, weak: S, watched: S, consistent: S},
		{calls: setxattrCalls + " execve execveat chroot", plain: A, recorded: N, weak: N, watched: N, consistent: N},
		{calls: xattratCalls, plain: A, recorded: S, weak: S, watched: S, consistent: S},
		{calls: getxattrCalls + " " + statCalls, plain: A, recorded: A, weak: A, watched: N, consistent: N, sees: true},
		{calls: makeCalls + " openat2", plain: A, recorded: A, weak: A, watched: N, consistent: N},
		{calls: "mknod", args: [6]uint64{0, chr, 0x103}, plain: Z, recorded: N, weak: N, watched: N, consistent: N},
		{calls: "mknodat", args: [6]uint64{0, 0, unix.S_IFBLK, 0x103}, plain: Z, recorded: N, weak: N, watched: N, consistent: N},
		{calls: "mknodat", args: [6]uint64{0, 0, chr | 0xabcd<<32}, plain: Z, recorded: N, weak: N, watched: N, consistent: N},
		{calls: "mknod", args: [6]uint64{chr, reg, chr}, plain: A, recorded: A, weak: A, watched: N, consistent: N},
		{calls: "mknodat", args: [6]uint64{chr, chr, unix.S_IFIFO, chr}, plain: A, recorded: A, weak: A, watched: N, consistent: N},
		{calls: "open", args: [6]uint64{0, unix.O_CREAT | unix.O_WRONLY}, plain: A, recorded: A, weak: A, watched: N, consistent: N},
		{calls: "openat", args: [6]uint64{0, 0, unix.O_CREAT}, plain: A, recorded: A, weak: A, watched: N, consistent: N},
		{calls: "openat", args: [6]uint64{0, 0, unix.O_RDWR | unix.O_TMPFILE}, plain: A, recorded: A, weak: A, watched: N, consistent: N},
		{calls: "openat", args: [6]uint64{0, unix.O_CREAT, unix.O_RDONLY | unix.O_DIRECTORY}, plain: A, recorded: A, weak: A, watched: A, consistent: A},
		{calls: "unshare", args: [6]uint64{unix.CLONE_NEWNS}, plain: A, recorded: N, weak: N, watched: N, consistent: N},
		{calls: "unshare", args: [6]uint64{unix.CLONE_FS}, plain: A, recorded: A, weak: A, watched: A, consistent: A},
		{calls: "prctl", args: [6]uint64{unix.PR_SET_KEEPCAPS, 1}, plain: A, recorded: N, weak: N, watched: N, consistent: N},
		{calls: "prctl", args: [6]uint64{unix.PR_SET_NAME, 1}, plain: A, recorded: A, weak: A, watched: A, consistent: A},
		{calls: "setrlimit", args: [6]uint64{rlimitMarker, 1}, plain: A, recorded: Z, weak: Z, watched: Z, consistent: Z},
		{calls: "prlimit64", args: [6]uint64{0, rlimitMarker, 0x7fff_0000_0000, 0}, plain: A, recorded: Z, weak: Z, watched: Z, consistent: Z},
		{calls: "prlimit64", args: [6]uint64{0, rlimitMarker, 0, 1}, plain: A, recorded: A, weak: A, watched: A, consistent: A},
		{calls: "prlimit64", args: [6]uint64{0, unix.RLIMIT_STACK, 1, 1}, plain: A, recorded: A, weak: A, watched: A, consistent: A},
		{calls: "getsockopt", args: [6]uint64{3, unix.SOL_SOCKET, unix.SO_PEERCRED}, plain: A, recorded: N, weak: N, watched: N, consistent: N},
		{calls: "getsockopt", args: [6]uint64{3, unix.SOL_SOCKET, unix.SO_ERROR}, plain: A, recorded: A, weak: A, watched: A, consistent: A},
	}
	for _, r := range rows {
		check := func(name string, o ProgramOptions, ip func(arch) uint64, want uint32) {
			everyABI(t, o, func(t *testing.T, prog []unix.SockFilter, a arch, big bool) {
				at := ip(a)
				if o.Arch == "" && arches[a].wide {
					at = ip(a) // of the model address space; this machine's may differ
				}
				for _, n := range strings.Fields(r.calls) {
					nr, ok := callNumber(n, a)
					if !ok {
						continue
					}
					got := run(t, prog, big, call{arch: arches[a].audit, nr: nr, ip: at, args: r.args})
					if got != want {
						t.Errorf("%s: %s%#x: got verdict %#x, want %#x", name, n, r.args, got, want)
					}
				}
			})
		}
		check("plain", ProgramOptions{Mode: ModePlain, Level: LevelFaithful}, high, r.plain)
		check("plain by level", ProgramOptions{Mode: ModeSeccomp, Level: LevelPlain}, high, r.plain)
		check("recorded", ProgramOptions{Mode: ModeSeccomp, Level: LevelRecorded}, low, r.recorded)
		check("unwatched", ProgramOptions{Mode: ModeSeccomp, Level: LevelFaithful}, high, r.weak)
		check("watched", ProgramOptions{Mode: ModeSeccomp, Level: LevelFaithful}, low, r.watched)
		makes := r.watched
		if r.sees {
			makes = r.weak
		}
		check("watched for what it makes", ProgramOptions{Mode: ModeSeccomp, Level: LevelFaithful}, between, makes)
		check("consistent", ProgramOptions{Mode: ModeConsistent, Level: LevelRecorded}, high, r.consistent)
	}
}

// TestForeignABI: no ABI leads around the filter.
func TestForeignABI(t *testing.T) {
	for _, mode := range []Mode{ModeSeccomp, ModeConsistent, ModePlain} {
		everyABI(t, ProgramOptions{Mode: mode, Level: LevelFaithful}, func(t *testing.T, prog []unix.SockFilter, a arch, big bool) {
			for _, audit := range []uint32{0, unix.AUDIT_ARCH_MIPS, unix.AUDIT_ARCH_RISCV64, unix.AUDIT_ARCH_S390} {
				if got := run(t, prog, big, call{arch: audit, nr: 1}); got != verdictNosys {
					t.Errorf("foreign ABI %#x: got verdict %#x, want ENOSYS", audit, got)
				}
			}
			if a != amd64 {
				return
			}
			for _, nr := range []uint32{x32Bit | 92, x32Bit | 512, x32Bit} {
				if got := run(t, prog, big, call{arch: arches[a].audit, nr: nr}); got != verdictNosys {
					t.Errorf("x32 call %#x: got verdict %#x, want ENOSYS", nr, got)
				}
			}
			if got := run(t, prog, big, call{arch: arches[a].audit, nr: ^uint32(0)}); got != verdictAllow {
				t.Errorf("skipped call: got verdict %#x, want allow", got)
			}
		})
	}
}

// TestOtherCallsAllowed: the filter has an opinion about its calls alone.
func TestOtherCallsAllowed(t *testing.T) {
	known := map[arch]map[uint32]bool{}
	for a := range archCount {
		known[a] = map[uint32]bool{}
		for _, row := range callNumbers {
			if row.nr[a] >= 0 {
				known[a][uint32(row.nr[a])] = true
			}
		}
	}
	everyABI(t, ProgramOptions{Mode: ModeConsistent, Level: LevelFaithful}, func(t *testing.T, prog []unix.SockFilter, a arch, big bool) {
		for nr := range uint32(600) {
			if known[a][nr] {
				continue
			}
			if got := run(t, prog, big, call{arch: arches[a].audit, nr: nr}); got != verdictAllow {
				t.Errorf("call %d: got verdict %#x, want allow", nr, got)
			}
		}
	})
}

// TestKeepSync: sync is let through on request, and no filter means none.
func TestKeepSync(t *testing.T) {
	o := ProgramOptions{Mode: ModePlain, Level: LevelPlain, Arch: "amd64", KeepSync: true}
	prog, err := Program(o)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, prog, false, call{arch: unix.AUDIT_ARCH_X86_64, nr: unix.SYS_FSYNC}); got != verdictAllow {
		t.Errorf("fsync: got verdict %#x, want allow", got)
	}
	for _, o := range []ProgramOptions{{Mode: ModeNone, Level: LevelFaithful}, {Mode: ModeFakeroot, Level: LevelFaithful}, {Level: LevelNone}} {
		if prog, err := Program(o); prog != nil || err != nil {
			t.Errorf("Program(%+v) = %d instructions, %v; want none", o, len(prog), err)
		}
	}
	if _, err := Program(ProgramOptions{Level: LevelPlain, Arch: "mips"}); err == nil {
		t.Error("Program for mips: no error")
	}
}

// TestAssembler checks jumps that are too far for a conditional one.
func TestAssembler(t *testing.T) {
	for _, distance := range []int{0, 1, 250, 254, 255, 256, 257, 300, 1000} {
		var a assembler
		yes, no := a.newLabel(), a.newLabel()
		a.load(dataNr)
		a.ifEqual(7, yes, no)
		for range distance {
			a.ret(1)
		}
		a.here(no)
		a.ret(2)
		for range distance {
			a.ret(1)
		}
		a.here(yes)
		a.ret(3)
		prog, err := a.assemble()
		if err != nil {
			t.Fatal(err)
		}
		for nr, want := range map[uint32]uint32{7: 3, 8: 2} {
			if got := run(t, prog, false, call{nr: nr}); got != want {
				t.Errorf("distance %d, nr %d: got %d, want %d", distance, nr, got, want)
			}
		}
	}
}
