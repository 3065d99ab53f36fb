package unpriv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// RunImage runs a program of an image and waits for its end. It is called
// outside of the namespaces of Enter: it makes a user and a mount namespace in
// one step, without executing virga again. Process.User says what the caller's
// ids are called inside. The program shares the caller's terminal, process
// group, open files and PID namespace; signals are passed on to it.
func RunImage(ctx context.Context, im Image) (Status, error) { panic("BUG: not yet") }

// Image is a root file system and the program that RunImage starts in it.
type Image struct {
	Lower []string // trees of the image, top first; one plain directory is a chain of one
	// Write lets changes go to the one directory in Lower; Fake lets them go to
	// memory, to be forgotten. Otherwise the root is read-only.
	Write, Fake bool
	// Files are small files laid over existing ones, by path: passwd, group.
	Files   map[string][]byte
	Mounts  []specs.Mount
	Process specs.Process // Args, Env, Cwd
}

// Exec is to be replaced by RunImage, which takes half the time.
//
// Exec replaces the calling process, which Enter started, by a program of the
// image. It returns only if that fails; the process is then fit for nothing
// but an error message.
func Exec(im Image) error {
	runtime.LockOSThread()
	root, err := im.assemble()
	if err != nil {
		return err
	}
	if err := enterRoot(root, im.Mounts); err != nil {
		return err
	}
	p := &im.Process
	prog, err := LookPath(p.Args[0], p.Env, p.Cwd)
	if err != nil {
		return err
	}
	cwd := p.Cwd
	if cwd == "" {
		cwd = "/"
	}
	if err := unix.Chdir(cwd); err != nil {
		return &CwdError{cwd, err}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return &ExecError{p.Args[0], syscall.Exec(prog, p.Args, p.Env)}
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
func (e *CwdError) Hint() string { return "choose another directory with --cd" }

// cover is a directory that exists everywhere and that is hidden for a moment
// by a file system in memory.
const cover = "/sys"

// assemble mounts the image's root and lays the files over it. It returns the
// root's path.
func (im *Image) assemble() (string, error) {
	if len(im.Lower) == 0 {
		return "", errors.New("BUG: image without trees")
	}
	if !im.Fake && len(im.Files) == 0 {
		return im.Lower[0], im.mountRoot("", "")
	}
	if err := unix.Mount("tmpfs", cover, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return "", fmt.Errorf("mount memory file system: %w", err)
	}
	upper, work := filepath.Join(cover, "upper"), filepath.Join(cover, "work")
	err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755))
	if err == nil {
		err = im.mountRoot(upper, work)
	}
	if err == nil {
		err = im.layFiles()
	}
	// What is mounted from it keeps it alive.
	return im.Lower[0], errors.Join(err, Unmount(cover))
}

// mountRoot mounts the image over its own topmost directory.
func (im *Image) mountRoot(upper, work string) error {
	root := im.Lower[0]
	switch {
	case im.Fake:
		return MountOverlay(root, Overlay{Lower: im.Lower, Upper: upper, Work: work})
	case im.Write:
		if len(im.Lower) > 1 {
			return errors.New("BUG: several trees cannot be written to")
		}
		return nil
	}
	return MountOverlay(root, Overlay{Lower: im.Lower})
}

// layFiles mounts Files over those of the image.
func (im *Image) layFiles() error {
	root, err := inroot.Open(im.Lower[0])
	if err != nil {
		return err
	}
	defer root.Close()
	n := 0
	for name, content := range im.Files {
		src := filepath.Join(cover, "file"+strconv.Itoa(n))
		n++
		if err := os.WriteFile(src, content, 0o644); err != nil {
			return err
		}
		if err := mountBelow(root, specs.Mount{Destination: name, Type: "bind", Source: src, Options: []string{Optional}}); err != nil {
			return fmt.Errorf("mount %q: %w", name, err)
		}
	}
	return nil
}
