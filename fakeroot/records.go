package fakeroot

import "os"

// Records are the owners and other attributes of the files of one running
// container, by inode. It is safe for concurrent use; the zero value is not
// usable, see [NewRecords].
type Records struct{}

// NewRecords returns an empty set.
func NewRecords() *Records { panic("BUG: not yet") }

// Load adds the records of table for the files beneath root, the container's
// root directory as its programs see it (the merged overlay). inPlace says that
// root is a plain directory, not an overlay, whose files' inode numbers may be
// used again once they are removed. A path that does not exist is left out.
func (r *Records) Load(root *os.File, table Table, inPlace bool) error { panic("BUG: not yet") }

// Collect returns the table of the tree that a RUN made: upper is the overlay's
// upper directory (for a plain directory, the root itself), root the
// container's root as in Load, still mounted, and lower the table given to Load.
// It may be called from any thread once the container's processes are dead.
func (r *Records) Collect(upper, root *os.File, lower Table) (Table, error) { panic("BUG: not yet") }
