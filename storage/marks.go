package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// marksFile beside a tree's files says that some of its deletions may not be
// devices 0:0, which overlay mounts need: they are empty files, marks only for
// who reads the records, where there are no such devices; or they are missing,
// because the tree was copied by a tool that could not make them.
const marksFile = "marks"

// placeNote remembers the file system that the storage directory was on.
const placeNote = "place"

// ErrNoMarks says that a chain cannot be mounted, because what was deleted
// cannot be marked on this file system.
var ErrNoMarks = errors.New("deletions cannot be marked on this file system")

// Lowers returns the directories of a chain's files in the order of overlay
// mounts, top first. Trees that were made where overlay mounts cannot be
// written to, and are now elsewhere, are made fit for them; ErrNoMarks says
// that they cannot be. The trees must be pinned.
func (s *Store) Lowers(ctx context.Context, chain []TreeID) ([]string, error) {
	out := make([]string, 0, len(chain)+1)
	if len(chain) > 1 {
		if err := s.checkPlace(); err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Backward(chain) {
		if err := id.check(); err != nil {
			return nil, err
		}
		if exists(s.treeDir(id) + "/" + marksFile) {
			if err := s.mendMarks(ctx, id); err != nil {
				return nil, fmt.Errorf("tree %s: mark what was deleted: %w", id, err)
			}
		}
		out = append(out, s.TreePath(id))
	}
	return out, nil
}

// checkPlace has all deletions looked at if the storage directory was moved.
func (s *Store) checkPlace() error {
	var fsys unix.Statfs_t
	var st unix.Stat_t
	if err := errors.Join(unix.Statfs(s.dir, &fsys), unix.Stat(s.dir, &st)); err != nil {
		return fmt.Errorf("look at storage %q: %w", s.dir, err)
	}
	here := fmt.Sprintf("%x:%x:%d\n", fsys.Type, fsys.Fsid.Val, st.Ino)
	was, err := os.ReadFile(s.NotePath(placeNote))
	if err == nil && string(was) == here {
		return nil
	}
	entries, err := os.ReadDir(s.path(treesDir))
	if err != nil {
		return fmt.Errorf("look at storage %q: %w", s.dir, cause(err))
	}
	for _, e := range entries {
		if len(e.Name()) != 32 { // flattened: nothing is deleted in it
			continue
		}
		if err := touch(s.treeDir(TreeID(e.Name())) + "/" + marksFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at storage %q: %w", s.dir, err)
		}
	}
	return s.writeFile(s.NotePath(placeNote), []byte(here), modePending, false)
}

// needsMarks reports whether something recorded as deleted is no device.
func needsMarks(dir string, owners fakeroot.Table) bool {
	for path, rec := range owners {
		var st unix.Stat_t
		if rec.IsWhiteout() && unix.Lstat(dir+"/"+path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			return true
		}
	}
	return false
}

// mendMarks replaces the empty files by devices. Several processes may do so
// at once, and one that reads the tree as it was finds either.
func (s *Store) mendMarks(ctx context.Context, id TreeID) error {
	owners, err := s.Owners(id)
	if err != nil {
		return err
	}
	for path, rec := range owners {
		if !rec.IsWhiteout() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.mendMark(s.TreePath(id) + "/" + path); err != nil {
			return err
		}
	}
	return removeFile(s.treeDir(id) + "/" + marksFile)
}

func (s *Store) mendMark(path string) error {
	var st, dir unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil && err != unix.ENOENT || err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return pathError("stat", path, err)
	}
	if err := unix.Lstat(filepath.Dir(path), &dir); err != nil {
		return pathError("stat", path, err)
	}
	temp, err := s.tempName("mark")
	if err != nil {
		return err
	}
	if err := unix.Mknod(temp, unix.S_IFCHR|0o600, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrNoMarks, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	times := []unix.Timespec{dir.Mtim, dir.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Dir(path), times, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pathError("set time of", filepath.Dir(path), err)
	}
	return nil
}
