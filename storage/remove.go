package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxDepth is how many directories RemoveTree holds open at once; deeper ones
// are moved to the top first, so that the depth of a tree, which whoever made
// it chooses, costs neither handles nor stack.
const maxDepth = 64

// RemoveTree removes dir, an absolute path, and all below it. Links are not followed, wherever
// they are put meanwhile: each step is relative to an open directory.
// Directories that their owner may not read or change are made so first, as
// overlay's work/work has mode 000. A missing dir is no error. Two processes
// may remove one tree together.
func RemoveTree(ctx context.Context, dir string) error {
	// "" and "." would be the working directory, whatever that is.
	if dir != filepath.Clean(dir) || !filepath.IsAbs(dir) || dir == "/" {
		return fmt.Errorf("BUG: remove %q: not an absolute, clean path below /", dir)
	}
	parent, err := unix.Open(filepath.Dir(dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	defer unix.Close(parent)
	r := remover{ctx: ctx, top: -1}
	if err := r.remove(parent, filepath.Base(dir), 0); err != nil {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	return nil
}

// remover is one removal. It lives for one call, hence the context in it.
type remover struct {
	ctx   context.Context
	top   int // the directory being removed, once it is open
	moved int // directories moved to top
}

// remove removes the entry name of parent, depth levels below the directory
// that RemoveTree was called for.
func (r *remover) remove(parent int, name string, depth int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	err := unlink(parent, name, 0, depth)
	if err != unix.EISDIR && err != unix.EPERM { // POSIX says EPERM of directories
		return pathError("unlink", name, err)
	}
	if depth >= maxDepth {
		return r.lift(parent, name)
	}
	// A process that dies with us may still be writing: try a few times.
	for range 5 {
		if err := r.empty(parent, name, depth); err != nil {
			return err
		}
		err = unlink(parent, name, unix.AT_REMOVEDIR, depth)
		if err != unix.ENOTEMPTY && err != unix.EEXIST {
			break
		}
	}
	return pathError("rmdir", name, err)
}

// unlink is unlinkat(2); below the top it makes parent writable if need be.
func unlink(parent int, name string, flags, depth int) error {
	err := unix.Unlinkat(parent, name, flags)
	if err == unix.EACCES && depth > 0 && unix.Fchmod(parent, 0o700) == nil {
		err = unix.Unlinkat(parent, name, flags)
	}
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// empty removes what is in the directory name of parent.
func (r *remover) empty(parent int, name string, depth int) error {
	fd, err := openDir(parent, name)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return pathError("open", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if depth == 0 {
		r.top = fd
	}
	for {
		names, err := f.Readdirnames(-1)
		if err != nil && !errors.Is(err, unix.ENOENT) { // removed by another process
			return err
		}
		for _, n := range names {
			if err := r.remove(fd, n, depth+1); err != nil {
				return err
			}
		}
		if depth > 0 || r.moved == 0 {
			return nil
		}
		r.moved = 0 // what was lifted here is read by another pass
		if _, err := f.Seek(0, 0); err != nil {
			return err
		}
	}
}

// lift moves a directory to the top of the tree being removed.
func (r *remover) lift(parent int, name string) error {
	for i := 0; ; i++ {
		to := fmt.Sprintf("deep-%d-%d", os.Getpid(), i)
		err := unix.Renameat2(parent, name, r.top, to, unix.RENAME_NOREPLACE)
		if err == unix.EACCES && chmodDir(parent, name) == nil {
			err = unix.Renameat2(parent, name, r.top, to, unix.RENAME_NOREPLACE)
		}
		switch err {
		case unix.EEXIST:
			continue
		case nil:
			r.moved++
			return nil
		case unix.ENOENT:
			return nil
		}
		return pathError("rename", name, err)
	}
}

// openDir opens the directory name of parent for reading, changing its mode
// if that forbids it.
func openDir(parent int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, name, flags, 0)
	if err == unix.EACCES && chmodDir(parent, name) == nil {
		fd, err = unix.Openat(parent, name, flags, 0)
	}
	return fd, err
}

// chmodDir makes the directory name of parent rwx for its owner without
// following a link: chmod(2) of a handle's /proc name, because fchmodat2(2)
// needs Linux 6.6.
func chmodDir(parent int, name string) error {
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700); err == nil {
		return nil
	}
	return unix.Fchmodat(parent, name, 0o700, unix.AT_SYMLINK_NOFOLLOW)
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}
