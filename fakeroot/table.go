package fakeroot

// Record is what a file would be if its owner had had the privilege: the
// attributes that one unprivileged uid cannot store on disk. A file without a
// record is root:root with its attributes as on disk.
type Record struct {
	UID uint32 `json:"u,omitempty"`
	GID uint32 `json:"g,omitempty"`
	// Perm is the wanted mode & 07777 of a file whose mode on disk was widened
	// (u+rw, directories u+rwx) so that its real owner can read it. HasPerm says that it is
	// set. It holds only as long as the mode on disk equals Widen(Perm): a later chmod wins.
	Perm    uint32 `json:"p,omitempty"`
	HasPerm bool   `json:"P,omitempty"`
	// Type is S_IFCHR or S_IFBLK for a device that is an empty regular file on
	// disk, with its number in Rdev (the kernel's encoding of dev_t); 0 otherwise.
	Type uint32 `json:"t,omitempty"`
	Rdev uint64 `json:"r,omitempty"`
	// Xattrs holds extended attributes that cannot be set on disk: trusted.*,
	// security.* other than capability, POSIX ACLs naming unmapped ids.
	Xattrs map[string][]byte `json:"x,omitempty"`
}

// Table maps paths to records. Paths are relative to the tree's root, without
// a leading slash, cleaned; the root itself is ".".
type Table map[string]Record
