package archive

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// maxSaid is how much of what a program says is remembered.
const maxSaid = 4096

// Unsquash calls read with a tar of all that is in the SquashFS file path:
// owners, modes, devices and attributes, without privilege. It needs sqfs2tar.
// A tar cannot have sockets, which are left out; the last such remark of the
// program is returned.
func Unsquash(ctx context.Context, path string, read func(io.Reader) error) (remark string, err error) {
	program, err := exec.LookPath("sqfs2tar")
	if err != nil {
		return "", &NoProgramError{Program: "sqfs2tar", Package: "squashfs-tools-ng", Without: "unsquashfs makes a directory of the file, with its owners if root does it, which can be imported"}
	}
	cmd := exec.CommandContext(ctx, program, "--root-becomes", ".", path)
	cmd.Stdin = os.Stdin // the path may be /dev/stdin
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	var said tail
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	r := &ending{r: out}
	rerr := read(r)
	if rerr != nil && !r.ended {
		_ = cmd.Process.Kill() // it would wait for its reader
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil && (rerr == nil || r.ended): // the tar ends early because of it
		return "", fmt.Errorf("%s: %w: %s", program, err, lastLine(string(said)))
	case rerr != nil:
		return "", rerr
	}
	return strings.TrimSpace(lastLine(string(said))), nil
}

// ending is a reader that knows that it came to its end.
type ending struct {
	r     io.Reader
	ended bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.ended = e.ended || err == io.EOF
	return n, err
}

// tail is the last bytes written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if over := len(*t) - maxSaid; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	return len(p), nil
}
