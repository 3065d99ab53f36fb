package layer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

const (
	overlayXattr = "user.overlay."
	opaqueXattr  = "user.overlay.opaque"
	capXattr     = "security.capability"
	aclPrefix    = "system.posix_acl_"
)

// plainXattr reports whether an ordinary user may have an attribute on disk.
// The overlay file system's own would change what a mount shows.
func plainXattr(name string) bool {
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, overlayXattr)
}

// setXattrs sets the attributes of m on the open file fd or, if base is not
// empty, on the link, FIFO or device base in the directory fd. It returns those
// that the disk cannot hold.
func (t *tree) setXattrs(fd int, base string, m *member) map[string][]byte {
	var left map[string][]byte
	for name, value := range m.xattrs {
		if t.real || base == "" && plainXattr(name) {
			err := setXattr(fd, base, name, []byte(value))
			if err == nil {
				continue
			}
			if t.real {
				t.log.Debug("extended attribute ignored", "path", m.name, "attribute", name, "error", err)
				continue
			}
		}
		if left == nil {
			left = map[string][]byte{}
		}
		left[name] = []byte(value)
	}
	return left
}

// setXattr goes through /proc for what cannot be opened: there is no
// setxattrat(2) before Linux 6.13.
func setXattr(fd int, base, name string, value []byte) error {
	if base == "" {
		return unix.Fsetxattr(fd, name, value, 0)
	}
	return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", fd, base), name, value, 0)
}

// xattrNames lists the attributes of an open file, sorted. File systems
// without attributes have none.
func xattrNames(fd int) ([]string, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Flistxattr(fd, buf)
		if err == unix.ERANGE {
			buf = make([]byte, 8*len(buf))
			continue
		}
		if err == unix.ENOTSUP || err == unix.ENOSYS {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var names []string
		for s := range bytes.SplitSeq(buf[:n], []byte{0}) {
			if len(s) > 0 {
				names = append(names, string(s))
			}
		}
		sort.Strings(names)
		return names, nil
	}
}

// diskXattrs reads the attributes of an open file that belong to an image:
// those an ordinary user sets, access lists, and capabilities; all but the security
// modules' own if owners are real.
func diskXattrs(fd int, real bool) (map[string]string, error) {
	names, err := xattrNames(fd)
	if err != nil {
		return nil, err
	}
	attrs := map[string]string{}
	for _, name := range names {
		acl := strings.HasPrefix(name, aclPrefix)
		if name == fakeroot.RootlessXattr || !plainXattr(name) && name != capXattr && !acl && !(real && !labelXattr(name)) {
			continue
		}
		v, err := getXattr(fd, name)
		if err == unix.ENODATA {
			continue
		}
		if err != nil {
			return nil, err
		}
		if name == capXattr {
			v = portableCapability(v)
		}
		if acl && !real {
			rootACL(v, uint32(os.Geteuid()), uint32(os.Getegid()))
		}
		attrs[name] = string(v)
	}
	return attrs, nil
}

// labelXattr reports whether an attribute belongs to the machine and not to
// the image: labels, measurements and the overlay file system's marks.
func labelXattr(name string) bool {
	return strings.HasPrefix(name, "security.") && name != capXattr ||
		strings.HasPrefix(name, overlayXattr) || strings.HasPrefix(name, "trusted.overlay.")
}

func getXattr(fd int, name string) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Fgetxattr(fd, name, buf)
		if err == unix.ERANGE {
			buf = make([]byte, 64<<10) // XATTR_SIZE_MAX
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}

// portableCapability turns version 3 of a security.capability attribute,
// which names the user namespace's root, into version 2, which any system understands
// (capabilities(7), linux/capability.h: struct vfs_ns_cap_data).
func portableCapability(v []byte) []byte {
	const (
		revisionMask = 0xff000000
		revision2    = 0x02000000
		revision3    = 0x03000000
		size2, size3 = 20, 24
	)
	if len(v) != size3 {
		return v
	}
	magic := binary.LittleEndian.Uint32(v)
	if magic&revisionMask != revision3 {
		return v
	}
	out := bytes.Clone(v[:size2])
	binary.LittleEndian.PutUint32(out, magic&^revisionMask|revision2)
	return out
}

// rootACL puts root for the caller's ids in an access list that the disk could
// hold (linux/posix_acl_xattr.h): inside, the caller was root.
func rootACL(v []byte, uid, gid uint32) {
	const header, entry, tagUser, tagGroup = 4, 8, 0x02, 0x08
	for e := v[min(header, len(v)):]; len(e) >= entry; e = e[entry:] {
		id := binary.LittleEndian.Uint32(e[4:])
		switch tag := binary.LittleEndian.Uint16(e); {
		case tag == tagUser && id == uid, tag == tagGroup && id == gid:
			binary.LittleEndian.PutUint32(e[4:], 0)
		}
	}
}
