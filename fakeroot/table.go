package fakeroot

import (
	"bytes"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

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
	// Gone says that a tree lower in the chain has a record for this path which
	// no longer holds, because the path was removed. Nothing else is set then.
	Gone bool `json:"d,omitempty"`
}

// Table maps paths to records. Paths are relative to the tree's root, without
// a leading slash, cleaned; the root itself is ".".
type Table map[string]Record

// Equal reports whether two records say the same.
func (r Record) Equal(o Record) bool {
	return r.UID == o.UID && r.GID == o.GID &&
		r.Perm == o.Perm && r.HasPerm == o.HasPerm &&
		r.Type == o.Type && r.Rdev == o.Rdev && r.Gone == o.Gone &&
		maps.EqualFunc(r.Xattrs, o.Xattrs, bytes.Equal)
}

// IsZero reports whether the record says nothing: root:root, as on disk.
func (r Record) IsZero() bool { return r.Equal(Record{}) }

// Whiteout is the record of what stands for a deleted file of the trees below:
// overlayfs' device 0:0, or an empty file where none can be made.
var Whiteout = Record{Type: unix.S_IFCHR}

// IsWhiteout reports whether the record is a Whiteout.
func (r Record) IsWhiteout() bool { return r.Type == unix.S_IFCHR && r.Rdev == 0 }

// Widen returns the mode on disk for a wanted mode: what the owner needs to
// read and replace the file. Both are st_mode & 07777.
func Widen(perm uint32, dir bool) uint32 {
	if dir {
		return perm | 0o700
	}
	return perm | 0o600
}

// Merge returns the records in force for a chain of trees, bottom first: the
// record of the highest tree counts; Gone and whiteouts remove. It relies on each
// tree's table mentioning every path that has a record below and is different
// in the tree; [Records.Collect] and [Table.Shadow] see to that.
func Merge(chain ...Table) Table {
	out := Table{}
	for _, t := range chain {
		for path, r := range t {
			if r.Gone || r.IsZero() || r.IsWhiteout() {
				delete(out, path)
			} else {
				out[path] = r
			}
		}
	}
	return out
}

// Paths returns the paths in sorted order.
func (t Table) Paths() []string { return slices.Sorted(maps.Keys(t)) }

// Fate says what became of a path in a new tree; see [Table.Shadow].
type Fate int

const (
	// Kept: the new tree says nothing of the path, what is below shows through.
	Kept Fate = iota
	// Replaced: the new tree has an own file there.
	Replaced
	// Removed: the path no longer exists.
	Removed
)

// Shadow completes t, the table of a tree that was not made by RUN, against
// the effective table of the trees below: a path with a record in lower that
// fate says was replaced or removed gets an entry in t, unless it has one, so
// that [Merge] does not let the old record through.
func (t Table) Shadow(lower Table, fate func(path string) Fate) {
	for path := range lower {
		if _, ok := t[path]; ok {
			continue
		}
		switch fate(path) {
		case Replaced:
			t[path] = Record{}
		case Removed:
			t[path] = Record{Gone: true}
		}
	}
}
