package unpriv

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// tinyTrue is an ELF program that ends with status 0, so that the start of a
// large one is not what is measured.
func tinyTrue(tb testing.TB) []byte {
	tb.Helper()
	const base = 0x400000
	code := map[string][]byte{
		"amd64": {0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05},                  // mov eax, 60; xor edi, edi; syscall
		"arm64": {0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0, 0, 0xd4}, // mov x0, 0; mov x8, 93; svc 0
	}[runtime.GOARCH]
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	if code == nil {
		tb.Skip("no program for " + runtime.GOARCH)
	}
	size := uint64(64 + 56 + len(code))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []any{
		uint16(2), machine, uint32(1), uint64(base + 64 + 56), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000),
	} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(code)
	return b.Bytes()
}

// tinyRoot is a root with /bin/true.
func tinyRoot(b *testing.B) string {
	dir := b.TempDir()
	for _, d := range []string{"bin", "dev", "proc", "sys", "etc", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for _, f := range []string{"etc/hosts", "etc/resolv.conf", "etc/machine-id"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/true"), tinyTrue(b), 0o755); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkRunImage is what `virga run` adds to a program.
func BenchmarkRunImage(b *testing.B) {
	im := Image{Lower: []string{tinyRoot(b)}, Mounts: RunMounts(), Process: specs.Process{Args: []string{"/bin/true"}}}
	for b.Loop() {
		if status, err := RunImage(b.Context(), im); err != nil || status != (Status{}) {
			b.Fatal(status, err)
		}
	}
}

// BenchmarkRun is what a RUN costs besides its snapshot and its program. The
// second one has a large heap, whose page tables are copied.
func BenchmarkRun(b *testing.B) {
	if !Entered() {
		cmd := exec.Command("/proc/self/exe", "-test.run=^$", "-test.bench=^BenchmarkRun$", "-test.benchtime=1s")
		cmd.Env = append(os.Environ(), insideVariable+"=bench")
		if os.Getenv(insideVariable) == "" {
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			return
		}
		_, status, err := Enter(b.Context(), Entry{})
		if err != nil {
			b.Skip(err)
		}
		os.Exit(status.Exit())
	}
	root := tinyRoot(b)
	run := func(b *testing.B, c Container) {
		for b.Loop() {
			if status, err := Run(b.Context(), c); err != nil || status != (Status{}) {
				b.Fatal(status, err)
			}
		}
	}
	c := Container{Root: root, Mounts: BuildMounts(), Process: specs.Process{Args: []string{"/bin/true"}}}
	b.Run("bare", func(b *testing.B) { run(b, Container{Root: root, Process: c.Process}) })
	b.Run("mounts", func(b *testing.B) { run(b, c) })
	c.Filter = filterOn(uint32(syscall.SYS_GETPPID), 0x7fc00000) // SECCOMP_RET_USER_NOTIF
	c.Supervise = func(listener int) error { return answerAll(listener, 0) }
	b.Run("supervised", func(b *testing.B) { run(b, c) })
	heap := bytes.Repeat([]byte{1}, 256<<20)
	b.Run("supervised, 256 MB", func(b *testing.B) { run(b, c) })
	runtime.KeepAlive(heap)
}
