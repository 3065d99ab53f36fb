package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Reset deletes all that is in the storage directory dir, of whatever
// version, and leaves dir itself, empty. It deletes nothing unless everything
// in dir is ours. A directory that is missing or empty is as it should be.
//
// Errors: ErrNotStorage, ErrOwner, ErrBusy while a live process works there.
func Reset(ctx context.Context, dir string, opts Options) error {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reset storage %q: %w", dir, cause(err))
	}
	if entries, err := os.ReadDir(real); err == nil && len(entries) == 0 {
		return nil
	}
	s := &Store{dir: real, noLock: opts.NoLock, log: opts.Log, me: sync.OnceValue(self)}
	if s.log == nil {
		s.log = discardLog()
	}
	if err := errors.Join(s.checkOwner(), s.checkAllOurs()); err != nil {
		return err
	}
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.checkIdle(); err != nil {
		return err
	}
	return s.deleteAll(ctx)
}

// checkAllOurs refuses directories that are not storage or hold more.
func (s *Store) checkAllOurs() error {
	foreign := func(why string) error {
		return &foreignError{fmt.Errorf("reset storage %q: %w: %s", s.dir, ErrNotStorage, why)}
	}
	b, err := os.ReadFile(s.path(versionFile))
	if err != nil {
		return foreign("it has no version file")
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil && len(b) > 0 {
		return foreign(fmt.Sprintf("its version file says %.20q", b))
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("reset storage %q: %w", s.dir, cause(err))
	}
	for _, e := range entries {
		if !isKnown(e.Name()) {
			return foreign(fmt.Sprintf("there is %q in it", e.Name()))
		}
	}
	if s.isOurs() {
		return nil
	}
	// Begun to be made, or to be deleted by a Reset that was killed.
	if fresh, err := s.isFresh(); err != nil || !fresh || len(b) > 0 && n != Version {
		return foreign("it has not the parts of one")
	}
	return nil
}

// foreignError is the refusal to delete what is not ours.
type foreignError struct{ error }

// Unwrap returns the error without the advice.
func (e *foreignError) Unwrap() error { return e.error }

// Hint says what to do.
func (e *foreignError) Hint() string {
	return "reset deletes only what virga made; is this the directory you mean (-s, $VIRGA_STORAGE)?"
}

// isKnown reports whether a name in the storage directory is ours, or one
// that file systems make.
func isKnown(name string) bool {
	return begunWith(name) || name == versionFile || name == lockFile || name == "lost+found" ||
		strings.HasPrefix(name, ".nfs") || strings.HasPrefix(name, ".umoci-")
}

// checkIdle refuses while there is work in progress.
func (s *Store) checkIdle() error {
	dead, err := s.deadSessions()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isDead := map[string]bool{}
	for _, d := range dead {
		isDead[filepath.Base(d)] = true
	}
	entries, err := os.ReadDir(s.path(tmpDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reset storage %q: %w", s.dir, cause(err))
	}
	for _, e := range entries {
		if o, ok := parseOwner(e.Name()); ok && !isDead[e.Name()] {
			return fmt.Errorf("reset storage %q: %w by process %d on %s", s.dir, ErrBusy, o.pid, o.host)
		}
	}
	return nil
}

// deleteAll deletes contents first and the frame last, so that it can be
// called again when it is interrupted.
func (s *Store) deleteAll(ctx context.Context) error {
	for _, d := range []string{imagesDir, imgDir, cacheDir, treesDir, blobsDir, mountsDir, notesDir, tmpDir, locksDir} {
		entries, err := os.ReadDir(s.path(d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reset storage %q: %w", s.dir, cause(err))
		}
		for _, e := range entries {
			if err := RemoveTree(ctx, s.path(d, e.Name())); err != nil {
				return fmt.Errorf("reset storage: %w", err)
			}
		}
	}
	frame := []string{tmpDir, locksDir, notesDir, mountsDir, cacheDir, imgDir, "blobs", treesDir, imagesDir, indexFile, layoutFile, lockFile, versionFile}
	umoci, err := filepath.Glob(s.path(".umoci-*"))
	if err != nil {
		return fmt.Errorf("BUG: %w", err)
	}
	for _, p := range umoci {
		frame = append([]string{filepath.Base(p)}, frame...)
	}
	for _, name := range frame {
		if err := RemoveTree(ctx, s.path(name)); err != nil {
			return fmt.Errorf("reset storage: %w", err)
		}
	}
	return nil
}
