package unpriv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"runtime"

	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// ExecError says why a program of the image could not be started.
type ExecError struct {
	Program string // as given, or the path that it was found at
	Err     error
	format  string // what the file is instead of a program, if that is the reason
}

func (e *ExecError) Error() string { return fmt.Sprintf("run %q: %v", e.Program, e.Err) }

func (e *ExecError) Unwrap() error { return e.Err }

// Status is 127 for a program that does not exist and 126 for one that cannot
// be executed, as shells have it.
func (e *ExecError) Status() int {
	if errors.Is(e.Err, unix.ENOENT) {
		return 127
	}
	return 126
}

// Hint advises on common causes.
func (e *ExecError) Hint() string {
	switch {
	case e.format != "":
		return "the file is " + e.format
	case errors.Is(e.Err, unix.ENOEXEC):
		return "the program is for another architecture (see virga inspect), or a script without a #! line"
	case errors.Is(e.Err, unix.ENOENT):
		return "is it installed in the image, and the interpreter of its #! line or its ELF loader too? PATH is searched in the image"
	case errors.Is(e.Err, unix.EACCES):
		return "is it a file, and executable?"
	}
	return ""
}

// look finds out what the file is that the kernel refused, in the trees of the
// image, top first.
func (e *ExecError) look(trees []string, cwd string) {
	if !errors.Is(e.Err, unix.ENOEXEC) {
		return
	}
	name := e.Program
	if !path.IsAbs(name) {
		name = path.Join("/", cwd, name)
	}
	for _, dir := range trees {
		root, err := inroot.Open(dir)
		if err != nil {
			return
		}
		f, err := root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		root.Close()
		if err != nil {
			continue
		}
		var head [20]byte
		n, _ := f.ReadAt(head[:], 0)
		f.Close()
		e.format = describe(head[:n], runtime.GOARCH)
		return
	}
}

// machines are the names of ELF machine numbers (elf(5)), as images have them.
var machines = map[uint16]string{3: "386", 8: "mips", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}

// describe says what a file is that begins so and cannot be executed here.
func describe(head []byte, here string) string {
	switch {
	case len(head) == 0:
		return "empty"
	case !bytes.HasPrefix(head, []byte("\x7fELF")):
		return "neither a program nor a script with a #! line"
	case len(head) < 20:
		return "a damaged program"
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	number := order.Uint16(head[18:])
	arch, ok := machines[number]
	if !ok {
		arch = fmt.Sprintf("ELF machine %d", number)
	}
	if arch == here {
		return "a program for " + arch + " that the kernel does not take: damaged, or for another kernel"
	}
	return fmt.Sprintf("a program for %s, and this machine is %s", arch, here)
}

// CwdError says that the working directory does not exist in the image.
type CwdError struct {
	Dir string
	Err error
}

func (e *CwdError) Error() string {
	return fmt.Sprintf("enter directory %q of the image: %v", e.Dir, e.Err)
}

func (e *CwdError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *CwdError) Hint() string { return "choose another directory, or create it in the image" }
