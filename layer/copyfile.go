package layer

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyFileAt copies a regular file, with its mode and time on disk.
func copyFileAt(fromDir int, from string, toDir int, to string, st *unix.Stat_t) error {
	src, err := openAt(fromDir, from, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := openAt(toDir, to, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyContent(dst, src, st.Size)
	if err == nil {
		err = unix.Fchmod(dst, st.Mode&07777)
	}
	if err == nil {
		err = setTimes(dst, st.Mtim)
	}
	if cerr := unix.Close(dst); err == nil {
		err = cerr
	}
	return err
}

// copyContent copies what src has to the empty file dst, by the cheapest way that the
// file systems allow: shared extents (ioctl_ficlone(2)), a copy inside the
// kernel (copy_file_range(2)), or read and write. Holes stay holes.
func copyContent(dst, src int, size int64) error {
	if size == 0 {
		return nil
	}
	if size >= 4096 && unix.IoctlFileClone(dst, src) == nil {
		return nil
	}
	var off int64
	for off < size {
		data, err := unix.Seek(src, off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break // a hole up to the end
		}
		end := size
		if err != nil {
			data = off // the file system does not tell
		} else if end, err = unix.Seek(src, data, unix.SEEK_HOLE); err != nil {
			end = size
		}
		n, err := copyRange(dst, src, data, end)
		if err != nil {
			return err
		}
		if n == 0 {
			break // shorter than it was
		}
		off = data + n
	}
	return unix.Ftruncate(dst, size)
}

// copyRange copies the bytes from off to end, or to the end of the file.
func copyRange(dst, src int, off, end int64) (int64, error) {
	start := off
	for off < end {
		in, out := off, off
		n, err := unix.CopyFileRange(src, &in, dst, &out, int(min(end-off, 1<<30)), 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil && off == start {
			return readWrite(dst, src, off, end)
		}
		if err != nil {
			return 0, err
		}
		if n == 0 {
			// Also what some file systems answer that cannot (before Linux 5.19).
			if off == start {
				return readWrite(dst, src, off, end)
			}
			break
		}
		off += int64(n)
	}
	return off - start, nil
}

func readWrite(dst, src int, off, end int64) (int64, error) {
	start := off
	buf := make([]byte, min(end-off, smallFile))
	for off < end {
		n, err := unix.Pread(src, buf[:min(int64(len(buf)), end-off)], off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		if err := pwriteAll(dst, buf[:n], off); err != nil {
			return 0, err
		}
		off += int64(n)
	}
	return off - start, nil
}

// errChanged says that a file is not what it was a moment ago.
var errChanged = errors.New("changed while it was read")

// readAll fills p from the beginning of a file.
func readAll(fd int, p []byte) error {
	for n := 0; n < len(p); {
		m, err := unix.Pread(fd, p[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if m == 0 {
			return errChanged
		}
		n += m
	}
	return nil
}

// readlinkAt returns the target of a link.
func readlinkAt(dirfd int, base string) (string, error) {
	for n := 256; ; n *= 4 {
		b := make([]byte, n)
		m, err := unix.Readlinkat(dirfd, base, b)
		if err != nil {
			return "", err
		}
		if m < n {
			return string(b[:m]), nil
		}
	}
}

// fileReader reads an open file without taking it over.
func fileReader(fd int, size int64) io.Reader {
	return io.NewSectionReader(fdReader(fd), 0, size)
}

type fdReader int

func (fd fdReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := unix.Pread(int(fd), p, off)
	if err != nil {
		return 0, os.NewSyscallError("pread", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
