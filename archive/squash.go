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
)

// SquashCompression is what SquashFS files are compressed with: Linux reads it
// since 4.14.
const SquashCompression = "zstd"

// NoProgramError says that a program of the host is missing.
type NoProgramError struct{ Program, Package string }

func (e *NoProgramError) Error() string { return e.Program + ": not installed" }

// Hint says what to install.
func (e *NoProgramError) Hint() string {
	return fmt.Sprintf("install %s; virga without it can read SquashFS files, not write them", e.Package)
}

// Squash makes the SquashFS file path of the tar that write writes, with its
// owners, modes, devices and attributes. It needs sqfstar or mksquashfs, of
// squashfs-tools 4.5 or newer, which use all processors; the result depends
// on the tar alone.
func Squash(ctx context.Context, path string, write func(io.Writer) error) error {
	args := []string{"-comp", SquashCompression, "-mkfs-time", "0", "-no-progress", "-quiet"}
	var cmd *exec.Cmd
	if p, err := exec.LookPath("sqfstar"); err == nil {
		cmd = exec.CommandContext(ctx, p, append(args, "-force", path)...)
	} else if p, err := exec.LookPath("mksquashfs"); err == nil {
		cmd = exec.CommandContext(ctx, p, append([]string{"-", path, "-tar", "-noappend"}, args...)...)
	} else {
		return &NoProgramError{Program: "mksquashfs", Package: "squashfs-tools (4.5 or newer)"}
	}
	// It clamps times if this is set, and refuses -mkfs-time then.
	cmd.Env = withoutVariable(os.Environ(), "SOURCE_DATE_EPOCH")
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
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, lastLine(said.String()))
	case werr != nil:
		return werr
	}
	return cerr
}

func withoutVariable(env []string, name string) []string {
	var out []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, name+"=") {
			out = append(out, kv)
		}
	}
	return out
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
