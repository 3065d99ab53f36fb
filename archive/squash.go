package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// NoProgramError says that a program of the host is missing.
type NoProgramError struct {
	Program, Package string
	Without          string // what can be done without it
}

func (e *NoProgramError) Error() string { return e.Program + ": not installed" }

// Hint says what to install.
func (e *NoProgramError) Hint() string {
	return fmt.Sprintf("install %s; without it, %s", e.Package, e.Without)
}

// SquashMagic is what a SquashFS file begins with.
const SquashMagic = "hsqs"

// IsSquash reports whether path is a SquashFS file.
func IsSquash(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, len(SquashMagic))
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == SquashMagic
}

// Squash makes the SquashFS file path, which is there and empty, of the tar
// that write writes, with its owners, modes, devices and attributes. newest is
// the last modification time in the tar. It needs mksquashfs 4.5 or newer,
// which uses all processors; the result depends on its version and the tar.
//
// zstd, which Linux reads since 4.14, at level 3: a tenth of the time that its
// default level takes.
func Squash(ctx context.Context, path string, newest time.Time, write func(io.Writer) error) error {
	program, err := exec.LookPath("mksquashfs")
	if err != nil {
		return &NoProgramError{Program: "mksquashfs", Package: "squashfs-tools (4.5 or newer)", Without: "virga unpack makes a directory that virga run and others start"}
	}
	cmd := exec.CommandContext(ctx, program, "-", path, "-tar", "-noappend", "-no-progress", "-quiet",
		"-comp", "zstd", "-Xcompression-level", "3", "-root-mode", "0755", "-root-uid", "0", "-root-gid", "0")
	// Times later than this become it: that of the root directory, which it
	// does not take from a tar, and its own.
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", newest.Unix()))
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	werr := write(in)
	if werr != nil {
		_ = cmd.Process.Kill() // or it would take a short tar for a whole one
	}
	cerr := in.Close()
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && (werr == nil || errors.Is(werr, os.ErrClosed) || strings.Contains(werr.Error(), "broken pipe")):
		return fmt.Errorf("%s: %w: %s", program, err, lastLine(said.String()))
	case werr != nil:
		return werr
	}
	return cerr
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
