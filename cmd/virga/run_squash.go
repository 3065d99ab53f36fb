package main

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

	"golang.org/x/sys/unix"

	"virga/archive"
	"virga/storage"
	"virga/unpriv"
)

// mountPatience is how long squashfuse may take until the file is mounted.
const mountPatience = 30 * time.Second

// squashFile reports whether the image is a SquashFS file. A name in storage
// wins over a file.
func (o *runOptions) squashFile(ctx context.Context, env *environment) (bool, error) {
	if o.state != "" || !archive.IsSquash(env.abs(o.image)) {
		return false, nil
	}
	if o.isPath() {
		return true, nil
	}
	store, err := env.openStorage(ctx)
	if err != nil {
		return false, err
	}
	defer env.closeStorage(store)
	_, err = store.Lookup(o.image)
	return errors.Is(err, storage.ErrNotFound), nil
}

// isPath reports whether the image can be no name in storage.
func (o *runOptions) isPath() bool {
	return o.state == "" && (strings.HasPrefix(o.image, "/") || strings.HasPrefix(o.image, "."))
}

// runSquash runs a program of a SquashFS file. FUSE mounts need the privilege
// that the namespace gives, so everything happens inside of one.
func runSquash(ctx context.Context, env *environment, o *runOptions) error {
	if o.write {
		return &usageError{msg: "run: --write: a SquashFS file cannot be changed", hint: "--write-fake allows changes and forgets them"}
	}
	if done, err := env.enter(ctx, unpriv.Entry{PassSignals: true}); done || err != nil {
		return err
	}
	if o.uid < 0 {
		o.uid = outerID("/proc/self/uid_map")
	}
	if o.gid < 0 {
		o.gid = outerID("/proc/self/gid_map")
	}
	return runImage(ctx, env, o)
}

// outerID is what 0 in this namespace is outside (user_namespaces(7)).
func outerID(file string) int {
	b, err := os.ReadFile(file)
	inside, outside, n := 0, 0, 0
	if err == nil {
		_, err = fmt.Fscan(bytes.NewReader(b), &inside, &outside, &n)
	}
	if err != nil || inside != 0 {
		return 0
	}
	return outside
}

// mountSquash mounts a SquashFS file at dir, or at a directory made for it,
// until done is called. It ends with this process, too.
func mountSquash(ctx context.Context, file, dir string) (_ string, done func(), err error) {
	program, err := exec.LookPath("squashfuse")
	if err != nil {
		return "", nil, &archive.NoProgramError{Program: "squashfuse", Package: "squashfuse", Without: "unsquashfs makes a directory of the file, which virga run starts"}
	}
	remove := func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "virga-mount-"); err != nil {
			return "", nil, err
		}
		remove = func() { os.Remove(dir) }
	}
	before, err := deviceOf(dir)
	if err != nil {
		remove()
		return "", nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, "-f", file, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is for the program
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		remove()
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	done = func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = cmd.Process.Kill()
		remove()
	}
	for end := time.Now().Add(mountPatience); ; {
		if now, err := deviceOf(dir); err == nil && now != before {
			return dir, done, nil
		}
		select {
		case err := <-ended:
			done()
			return "", nil, fmt.Errorf("mount %q: squashfuse: %w: %s", file, orExited(err), strings.TrimSpace(said.String()))
		case <-ctx.Done():
			done()
			return "", nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(end) {
			done()
			return "", nil, fmt.Errorf("mount %q: squashfuse did not do so in %v", file, mountPatience)
		}
	}
}

func orExited(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// deviceOf tells a mount from the directory below it.
func deviceOf(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("mount directory %q: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, fmt.Errorf("mount directory %q: not a directory", dir)
	}
	return uint64(st.Dev), nil
}
