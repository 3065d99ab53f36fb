package layer

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// handle is an open directory, shared by those who create files in it.
type handle struct {
	fd   int
	path string // below the root, resolved; "." for the root
	born int    // number of the layer that made the directory, if that is known
	refs atomic.Int32
}

// newHandle returns a handle with one reference, the caller's.
func newHandle(fd int, path string) *handle {
	h := &handle{fd: fd, path: path}
	h.refs.Store(1)
	return h
}

func (h *handle) hold() *handle {
	h.refs.Add(1)
	return h
}

func (h *handle) drop() {
	if h.refs.Add(-1) == 0 {
		unix.Close(h.fd)
	}
}

// openDir opens a directory, never through a link.
func openDir(dirfd int, base string) (int, error) {
	return openAt(dirfd, base, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// openAt is openat(2), repeated when a signal interrupts it, never through a link.
func openAt(dirfd int, base string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// statAt is lstat(2) in a directory.
func statAt(dirfd int, base string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(dirfd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// setTimes is futimens(3), which the unix package does not have: utimensat(2)
// without a path, one look-up less.
func setTimes(fd int, mtime unix.Timespec) error {
	ts := [2]unix.Timespec{mtime, mtime}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

func setTimesAt(dirfd int, base string, mtime unix.Timespec) error {
	return unix.UtimesNanoAt(dirfd, base, []unix.Timespec{mtime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

// writeAll writes p, whatever the kernel takes at a time.
func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// pwriteAll is writeAll at an offset.
func pwriteAll(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// namesIn lists a directory.
func namesIn(dirfd int, base string) ([]string, error) {
	fd, err := openDir(dirfd, base)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	return f.Readdirnames(-1)
}

// failed describes a failed step on a path of the image.
func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s %q: %w", op, path, err)
}
