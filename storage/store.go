package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Version is the number of the directory's format that this package writes.
const Version = 1

// Names in the storage directory.
const (
	versionFile = "version"
	lockFile    = "lock"
	layoutFile  = "oci-layout"
	indexFile   = "index.json"
	blobsDir    = "blobs/sha256"
	treesDir    = "trees"
	imagesDir   = "images"
	deletedDir  = "images/.deleted"
	imgDir      = "img"
	cacheDir    = "cache"
	mountsDir   = "mounts"
	notesDir    = "notes"
	locksDir    = "locks"
	tmpDir      = "tmp"
)

// skeleton lists the directories of a new storage directory, parents first.
var skeleton = [...]string{
	"blobs", blobsDir, treesDir, imagesDir, deletedDir, imgDir,
	cacheDir, mountsDir, notesDir, locksDir, tmpDir,
}

// Options are Open's; the zero value works.
type Options struct {
	// NoLock takes no locks, for file systems without. The caller sees to it
	// that no other process uses the storage directory.
	NoLock bool
	// Log gets what is cleaned up and waited for; nil means nobody.
	Log *slog.Logger
}

// Store is an open storage directory, safe for concurrent use.
type Store struct {
	dir    string // absolute, without links, so that one lock file has one name
	noLock bool
	log    *slog.Logger
	me     func() owner // computed once, when first needed

	local localLocks // what noLock leaves: locks between goroutines
	ses   session
	dirty dirtySet

	stopSweep context.CancelFunc // nil when nothing is being swept
	swept     chan struct{}
}

// Open opens the storage directory dir, and makes it if it does not exist or
// is empty. It takes no lock and costs well under a millisecond. What dead
// processes left in tmp/ is removed in the background; Close waits for that
// for a second, and the next process does the rest.
//
// Errors: [ErrNotStorage] for a directory holding something else, *[VersionError],
// [ErrOwner] for another user's, [io/fs.ErrPermission].
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	s, err := open(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	s.startSweep(ctx)
	return s, nil
}

func open(ctx context.Context, dir string, opts Options) (*Store, error) {
	if dir == "" {
		return nil, errors.New("open storage: no directory given")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create storage %q: %w", dir, cause(err))
	}
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, fmt.Errorf("open storage %q: %w", dir, cause(err))
	}
	s := &Store{dir: real, noLock: opts.NoLock, log: opts.Log, me: sync.OnceValue(self)}
	if s.log == nil {
		s.log = discardLog()
	}
	if err := s.checkOwner(); err != nil {
		return nil, err
	}
	if err := s.checkVersion(); err != nil {
		return nil, err
	}
	return s, nil
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Dir returns the directory's absolute path.
func (s *Store) Dir() string { return s.dir }

// Close ends the use: pins are released and what is left of this Store's work
// in progress is removed. The Store is not to be used afterwards.
func (s *Store) Close() error {
	if s.stopSweep != nil {
		select {
		case <-s.swept:
		case <-time.After(time.Second):
		}
		s.stopSweep()
		<-s.swept
	}
	return s.endSession()
}

// NotePath returns the path of a file that costs only time when it is lost or
// damaged: what was probed, digests remembered by inode. name is a plain file
// name. Whoever writes it makes a new file beside it, with a name that begins
// with a dot, and renames it.
func (s *Store) NotePath(name string) string { return s.path(notesDir, filepath.Base(name)) }

func (s *Store) path(elem ...string) string {
	return s.dir + "/" + strings.Join(elem, "/")
}

// checkOwner refuses a directory that another user made: in /var/tmp anybody
// may take a name first and fill it with what we would then run. Root may use
// any, and everybody may use root's.
func (s *Store) checkOwner() error {
	var st unix.Stat_t
	if err := unix.Stat(s.dir, &st); err != nil {
		return fmt.Errorf("open storage %q: %w", s.dir, err)
	}
	if me := os.Geteuid(); me != 0 && st.Uid != 0 && int(st.Uid) != me {
		return fmt.Errorf("open storage %q: %w (uid %d)", s.dir, ErrOwner, st.Uid)
	}
	return nil
}

// checkVersion accepts a storage directory of this version and makes one in
// an empty directory. The version file is made first, empty, and written
// last: an empty one means that somebody is at it or died at it, and anybody
// may finish.
func (s *Store) checkVersion() error {
	for try := 0; ; try++ {
		b, err := os.ReadFile(s.path(versionFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("open storage %q: %w", s.dir, cause(err))
		}
		if len(b) > 0 {
			if err := s.judgeVersion(string(b)); err != nil || exists(s.path(tmpDir)) {
				return err
			}
			return s.create() // Reset, which begins with tmp/ and ends with version, was killed
		}
		fresh, err := s.isFresh()
		if err != nil {
			return fmt.Errorf("open storage %q: %w", s.dir, cause(err))
		}
		if fresh {
			return s.create()
		}
		if try == 20 { // nobody finished it meanwhile
			return fmt.Errorf("open storage %q: %w, and not empty", s.dir, ErrNotStorage)
		}
		time.Sleep(time.Millisecond)
	}
}

// judgeVersion decides on what a version file holds. Others' directories have
// version files too (Charliecloud's holds a number as well), so a number
// alone does not make the directory ours.
func (s *Store) judgeVersion(text string) error {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err == nil && n == Version {
		return nil
	}
	if err != nil || !s.isOurs() {
		return fmt.Errorf("open storage %q: %w: its version file says %.20q", s.dir, ErrNotStorage, text)
	}
	return &VersionError{Dir: s.dir, Have: n, Want: Version}
}

// isOurs reports whether the directory has what every version of a storage
// directory has.
func (s *Store) isOurs() bool {
	for _, name := range []string{layoutFile, treesDir, imagesDir} {
		if _, err := os.Lstat(s.path(name)); err != nil {
			return false
		}
	}
	return true
}

// isFresh reports whether the directory is empty, or holds nothing but the
// pieces of an unfinished, still empty storage directory.
func (s *Store) isFresh() (bool, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return false, err
	}
	begun, others := false, 0
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "lost+found": // the root of a file system
		case name == versionFile:
			begun = true
		case (begunWith(name) || name == lockFile) && s.isBare(name):
			others++
		default:
			return false, nil
		}
	}
	return begun || others == 0, nil
}

// begunWith reports whether create makes name in the storage directory.
func begunWith(name string) bool {
	for _, n := range append(skeleton[:], layoutFile, indexFile) {
		if n == name {
			return true
		}
	}
	return false
}

// isBare reports whether name is a file or holds no files.
func (s *Store) isBare(name string) bool {
	bare := true
	err := filepath.WalkDir(s.path(name), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && p != s.path(name) {
			bare = false
			return fs.SkipAll
		}
		return err
	})
	return bare && err == nil
}

// create fills an empty directory. Several processes may do so at once: they
// make the same.
func (s *Store) create() error {
	fail := func(err error) error { return fmt.Errorf("create storage %q: %w", s.dir, cause(err)) }
	f, err := os.OpenFile(s.path(versionFile), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return fail(err)
	}
	for _, d := range skeleton {
		if err := os.Mkdir(s.path(d), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fail(err)
		}
	}
	if err := s.createLayout(); err != nil {
		return fail(err)
	}
	// Now, so that deleting works on a full disk.
	if err := touch(s.path(lockFile)); err != nil {
		return fail(err)
	}
	if _, err := fmt.Fprintln(f, Version); err != nil {
		return fail(err)
	}
	return nil
}

// cause strips what an *fs.PathError repeats.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
