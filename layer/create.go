package layer

import "golang.org/x/sys/unix"

// createNode makes what m describes, in the open directory dirfd, where
// nothing of the name may exist. real says that owners and devices are to be
// real; umask is what the kernel removes from the mode of a new file.
func createNode(dirfd int, base string, m *member, mode uint32, data []byte, real bool, umask uint32) error {
	switch m.kind {
	case kindFile:
		fd, err := openAt(dirfd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode&0o777)
		if err != nil {
			return err
		}
		err = writeAll(fd, data)
		if err == nil {
			err = sealFile(fd, m, mode, real, umask)
		}
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
		return err
	case kindSymlink:
		if err := unix.Symlinkat(m.link, dirfd, base); err != nil {
			return err
		}
	case kindFifo, kindChar, kindBlock:
		if err := unix.Mknodat(dirfd, base, nodeType(m.kind)|mode, int(m.rdev)); err != nil {
			return err
		}
		if !real && mode&^umask != mode {
			if err := unix.Fchmodat(dirfd, base, mode, 0); err != nil {
				return err
			}
		}
	}
	if real {
		if err := ownNode(dirfd, base, m, mode); err != nil {
			return err
		}
	}
	return setTimesAt(dirfd, base, m.mtime)
}

func nodeType(kind byte) uint32 {
	switch kind {
	case kindChar:
		return unix.S_IFCHR
	case kindBlock:
		return unix.S_IFBLK
	}
	return unix.S_IFIFO
}

// sealFile gives a written file its attributes. The mode comes after owner
// and data, because changing those clears set-id bits.
func sealFile(fd int, m *member, mode uint32, real bool, umask uint32) error {
	if real {
		if err := unix.Fchown(fd, int(m.uid), int(m.gid)); err != nil {
			return err
		}
	}
	if real || mode&^umask&0o777 != mode {
		if err := unix.Fchmod(fd, mode); err != nil {
			return err
		}
	}
	return setTimes(fd, m.mtime)
}

// ownNode gives a link, FIFO or device its real owner.
func ownNode(dirfd int, base string, m *member, mode uint32) error {
	err := unix.Fchownat(dirfd, base, int(m.uid), int(m.gid), unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || m.kind == kindSymlink {
		return err
	}
	return unix.Fchmodat(dirfd, base, mode, 0)
}
