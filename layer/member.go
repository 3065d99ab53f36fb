package layer

import (
	"archive/tar"
	"fmt"
	"math"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
	// metaPrefix marks what AUFS left in layers for itself.
	metaPrefix = ".wh..wh."
	// xattrKey precedes the attribute's name in a PAX record.
	xattrKey = "SCHILY.xattr."
	// maxPath is PATH_MAX: no program could name what is longer.
	maxPath = 4096
	// maxSparse bounds files whose size costs the archive nothing.
	maxSparse = 1 << 40
)

// member is one member of an archive, checked, with a clean name.
type member struct {
	name   string // without leading slash, "." and ".."; "." for the root
	kind   byte   // one of the constants below
	link   string // target of a link: as it stands, or clean if it is hard
	mode   uint32 // & 07777
	uid    uint32
	gid    uint32
	size   int64
	sparse bool
	mtime  unix.Timespec
	rdev   uint64
	node   uint32 // S_IFCHR or S_IFBLK of an empty file that stands for a device
	xattrs map[string]string
	again  bool // the layer has had a member of this path before
}

const (
	kindFile    = tar.TypeReg
	kindHard    = tar.TypeLink
	kindSymlink = tar.TypeSymlink
	kindChar    = tar.TypeChar
	kindBlock   = tar.TypeBlock
	kindDir     = tar.TypeDir
	kindFifo    = tar.TypeFifo
)

func (m *member) device() bool { return m.kind == kindChar || m.kind == kindBlock }

// standIn makes an empty file of a device, which is recorded as what it was
// (fakeroot.Record). It does not of 0:0, which stands for an absence.
func (m *member) standIn() bool {
	if m.kind == kindChar && m.rdev == 0 {
		return false
	}
	m.node = nodeType(m.kind)
	m.kind, m.size = kindFile, 0
	return true
}

// newMember checks a header. It returns nil for one to be skipped.
func newMember(h *tar.Header, fixes *Fixes) (*member, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil, nil
	}
	if h.Name == "" {
		fixes.Unnamed++
		return nil, nil
	}
	name, absolute, err := cleanName(h.Name)
	if err != nil {
		return nil, err
	}
	if absolute {
		fixes.Absolute++
	}
	m := &member{
		name:  name,
		kind:  h.Typeflag,
		mode:  uint32(h.Mode) & 07777,
		size:  h.Size,
		mtime: unix.NsecToTimespec(0),
	}
	m.mtime.Sec, m.mtime.Nsec = h.ModTime.Unix(), int64(h.ModTime.Nanosecond())
	if m.uid, err = ownerID(h.Uid); err == nil {
		m.gid, err = ownerID(h.Gid)
	}
	if err != nil {
		return nil, fmt.Errorf("owner of %q: %w", h.Name, err)
	}
	if err := m.setKind(h, fixes); err != nil {
		return nil, err
	}
	for k, v := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(k, xattrKey); ok {
			if m.xattrs == nil {
				m.xattrs = make(map[string]string)
			}
			m.xattrs[attr] = v
		} else if strings.HasPrefix(k, "GNU.sparse.") {
			m.sparse = true
		}
	}
	m.rootless()
	if m.sparse && m.size > maxSparse {
		return nil, fmt.Errorf("file %q: sparse, and %d bytes long, more than the limit of %d", h.Name, m.size, int64(maxSparse))
	}
	if m.name == "." && m.kind != kindDir {
		return nil, fmt.Errorf("path %q is the root of the image, but not a directory", h.Name)
	}
	return m, nil
}

func (m *member) setKind(h *tar.Header, fixes *Fixes) error {
	switch h.Typeflag {
	case kindFile, kindDir, kindFifo:
	case tar.TypeCont:
		m.kind = kindFile
	case tar.TypeGNUSparse:
		m.kind, m.sparse = kindFile, true
	case kindChar, kindBlock:
		m.rdev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	case kindSymlink:
		if m.link = h.Linkname; m.link == "" {
			return fmt.Errorf("symbolic link %q has no target", h.Name)
		}
	case kindHard:
		m.link = cleanTarget(h.Linkname, fixes)
		if m.link == "." {
			return fmt.Errorf("hard link %q has no target", h.Name)
		}
	default:
		return fmt.Errorf("path %q: unknown member type %q", h.Name, h.Typeflag)
	}
	return nil
}

func ownerID(id int) (uint32, error) {
	if id < 0 || int64(id) >= math.MaxUint32 {
		return 0, fmt.Errorf("id %d is out of range", id)
	}
	return uint32(id), nil
}

// cleanName removes what means nothing in a member's name, and refuses "..".
func cleanName(name string) (clean string, absolute bool, err error) {
	absolute = strings.HasPrefix(name, "/")
	for c := range strings.SplitSeq(name, "/") {
		if c == ".." {
			return "", false, fmt.Errorf("path %q leaves the image", name)
		}
	}
	clean = strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		clean = "."
	}
	if len(clean) > maxPath {
		return "", false, fmt.Errorf("path %.60q...: %d bytes long, more than the limit of %d", clean, len(clean), maxPath)
	}
	return clean, absolute, nil
}

// cleanTarget makes a hard link's target relative to the root. What climbs above
// the root stays at the root, as in a chroot.
func cleanTarget(target string, fixes *Fixes) string {
	if strings.HasPrefix(target, "/") {
		fixes.Absolute++
	}
	depth := 0
	for c := range strings.SplitSeq(target, "/") {
		switch c {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				fixes.Clamped++
				depth = math.MaxInt32 // count once
			}
		default:
			depth++
		}
	}
	if clean := strings.TrimPrefix(path.Clean("/"+target), "/"); clean != "" {
		return clean
	}
	return "."
}

// splitName returns the parent and the last component of a clean name.
func splitName(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return ".", name
}

// join is the inverse of splitName.
func join(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}
