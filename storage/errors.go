package storage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// The kinds of failure, for errors.Is. Those about which something can be
// done have a method Hint that says what.
var (
	// ErrNotStorage says that a directory with contents is not a storage directory.
	ErrNotStorage error = &kind{"not a virga storage directory", "choose a directory that is empty or does not exist (-s)"}
	// ErrOwner says that the storage directory belongs to another user.
	ErrOwner error = &kind{"storage directory of another user", "choose a directory of your own (-s)"}
	// ErrVersion is every *VersionError.
	ErrVersion = errors.New("storage directory of another format version")
	// ErrNotFound is every *NotFoundError and *MissingError, and said of states.
	ErrNotFound = errors.New("not in storage")
	// ErrAmbiguous is every *AmbiguousError.
	ErrAmbiguous = errors.New("ambiguous")
	// ErrExists says that an image would be overwritten.
	ErrExists error = &kind{"an image of that name exists", "tag or delete it first"}
	// ErrCorrupt says that bytes do not match their digest or size, or that a record cannot be read.
	ErrCorrupt = errors.New("damaged")
	// ErrNotDurable says that an image was not yet written out when its machine went down.
	ErrNotDurable error = &kind{"not completely written before its machine went down", "pull or build it again"}
	// ErrBusy says that a live process uses the storage directory.
	ErrBusy error = &kind{"in use", "wait until that process has ended"}
	// ErrNoLocks says that the file system has no locks (fcntl(2) gives ENOLCK or ENOSYS).
	ErrNoLocks error = &kind{"the file system has no locks", "--no-lock does without, as long as only one virga uses the storage directory"}
)

// kind is a kind of failure with advice.
type kind struct{ text, hint string }

// Error says what is wrong.
func (k *kind) Error() string { return k.text }

// Hint says what to do.
func (k *kind) Hint() string { return k.hint }

// IsFull reports whether err is a full file system or an exhausted quota.
func IsFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// VersionError says that a storage directory has another format.
type VersionError struct {
	Dir  string
	Have int
	Want int
}

// Error names the directory and both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("open storage %q: format version %d, this virga has version %d", e.Dir, e.Have, e.Want)
}

// Hint says what to do.
func (e *VersionError) Hint() string {
	if e.Have > e.Want {
		return "use the newer virga that made it, another directory (-s), or delete its contents with \"virga reset\""
	}
	return "use another directory (-s), or delete its contents with \"virga reset\""
}

// Is makes every VersionError an ErrVersion.
func (e *VersionError) Is(target error) bool { return target == ErrVersion }

// NotFoundError says that no image answers to a query.
type NotFoundError struct {
	Query   string
	Nearest []string // references that look like it, best first
	Deleted bool     // it was deleted and can be had back
}

// Error names what was looked for.
func (e *NotFoundError) Error() string { return fmt.Sprintf("image %q: not in storage", e.Query) }

// Hint names what may have been meant.
func (e *NotFoundError) Hint() string {
	switch {
	case e.Deleted:
		return "it was deleted; \"virga undelete\" gets it back"
	case len(e.Nearest) > 0:
		return "did you mean " + strings.Join(e.Nearest, ", ") + "?"
	}
	return ""
}

// Is makes every NotFoundError an ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// AmbiguousError says that a digest or id prefix fits several images.
type AmbiguousError struct {
	Query      string
	Candidates []Image // sorted by reference
}

// Error names the candidates.
func (e *AmbiguousError) Error() string {
	names := make([]string, len(e.Candidates))
	for i, c := range e.Candidates {
		names[i] = c.Ref
	}
	return fmt.Sprintf("image %q: ambiguous, it may be %s", e.Query, strings.Join(names, ", "))
}

// Is makes every AmbiguousError an ErrAmbiguous.
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// CorruptError says that a blob is not what its digest promises. OpenBlob's
// and ReadBlob's callers find the blob gone afterwards, so that the next
// attempt fetches it anew.
type CorruptError struct {
	Digest digest.Digest
	Detail string
}

// Error says what differs.
func (e *CorruptError) Error() string { return fmt.Sprintf("blob %s: %s", e.Digest, e.Detail) }

// Is makes every CorruptError an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// MissingError says which trees or blobs are not in storage.
type MissingError struct {
	Trees []TreeID
	Blobs []digest.Digest
}

// Error names the first of them.
func (e *MissingError) Error() string {
	if len(e.Trees) > 0 {
		return fmt.Sprintf("tree %s: not in storage", e.Trees[0])
	}
	return fmt.Sprintf("blob %s: not in storage", e.Blobs[0])
}

// Is makes every MissingError an ErrNotFound.
func (e *MissingError) Is(target error) bool { return target == ErrNotFound }
