package fakeroot

import (
	"bytes"
	"encoding/binary"
	"maps"
	"strings"
)

// POSIX access control lists as extended attributes: linux/posix_acl_xattr.h.
const (
	aclPrefix  = "system.posix_acl_"
	aclAccess  = aclPrefix + "access"
	aclDefault = aclPrefix + "default"

	aclVersion = 2
	aclHeader  = 4
	aclEntry   = 8 // tag u16, perm u16, id u32; little-endian everywhere

	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

// aclValid tells a list that the kernel would understand.
func aclValid(acl []byte) bool {
	return len(acl) >= aclHeader && (len(acl)-aclHeader)%aclEntry == 0 &&
		binary.LittleEndian.Uint32(acl) == aclVersion
}

// aclForeign reports whether a valid list names an id other than 0, the only
// one that the namespace has.
func aclForeign(acl []byte) bool {
	for e := acl[aclHeader:]; len(e) > 0; e = e[aclEntry:] {
		tag, id := binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint32(e[4:])
		if (tag == aclUser || tag == aclGroup) && id != 0 {
			return true
		}
	}
	return false
}

// aclMode returns the permission bits that setting a list gives to a file
// (posix_acl_equiv_mode): the group bits are the mask's if there is one.
func aclMode(acl []byte) (perm uint32) {
	var group, mask uint32
	masked := false
	for e := acl[aclHeader:]; len(e) > 0; e = e[aclEntry:] {
		bits := uint32(binary.LittleEndian.Uint16(e[2:])) & 7
		switch binary.LittleEndian.Uint16(e) {
		case aclUserObj:
			perm |= bits << 6
		case aclGroupObj:
			group = bits
		case aclMask:
			mask, masked = bits, true
		case aclOther:
			perm |= bits
		}
	}
	if masked {
		group = mask
	}
	return perm | group<<3
}

// aclWithMode returns the list after a chmod(2) to mode (posix_acl_chmod).
func aclWithMode(acl []byte, mode uint32) []byte {
	if !aclValid(acl) {
		return acl
	}
	out := bytes.Clone(acl)
	var group, mask []byte
	for e := out[aclHeader:]; len(e) > 0; e = e[aclEntry:] {
		switch binary.LittleEndian.Uint16(e) {
		case aclUserObj:
			binary.LittleEndian.PutUint16(e[2:], uint16(mode>>6&7))
		case aclGroupObj:
			group = e
		case aclMask:
			mask = e
		case aclOther:
			binary.LittleEndian.PutUint16(e[2:], uint16(mode&7))
		}
	}
	if mask == nil {
		mask = group
	}
	if mask != nil {
		binary.LittleEndian.PutUint16(mask[2:], uint16(mode>>3&7))
	}
	return out
}

// aclsInForce returns attributes with the access list brought up to mode.
func aclsInForce(xattrs map[string][]byte, mode uint32) map[string][]byte {
	acl, ok := xattrs[aclAccess]
	if !ok {
		return xattrs
	}
	xattrs = maps.Clone(xattrs)
	xattrs[aclAccess] = aclWithMode(acl, mode)
	return xattrs
}

// recordable tells the attributes that the kernel refuses to a namespace's
// root: trusted.*, and security.* but file capabilities.
func recordable(name string) bool {
	return strings.HasPrefix(name, "trusted.") ||
		strings.HasPrefix(name, "security.") && name != "security.capability"
}

// isACL tells the two access control lists.
func isACL(name string) bool { return name == aclAccess || name == aclDefault }

// maxXattr is XATTR_SIZE_MAX, maxXattrName XATTR_NAME_MAX (linux/limits.h).
const (
	maxXattr     = 64 << 10
	maxXattrName = 255
)
