package storage

import (
	"io/fs"
	"os"
	"time"
)

// mend makes what is derived from the image records agree with them: a
// process may have been killed between the two.
func (s *Store) mend(c *contents) error {
	links := map[string]bool{}
	for _, rec := range c.images {
		ref, err := rec.img.Reference()
		if err != nil {
			return err
		}
		links[fileName(ref)] = true
		link, err := s.editLink(ref, rec.img.one())
		if err != nil {
			return err
		}
		if err := link.commit(); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(s.path(imgDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 && !links[e.Name()] {
			if err := removeFile(s.path(imgDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return s.rebuildIndex(c.images)
}

// removeKeyLocks removes the files of key locks that nobody holds. The lock
// held alone keeps everybody from taking one meanwhile.
func (s *Store) removeKeyLocks() error {
	if s.noLock {
		return nil
	}
	entries, err := os.ReadDir(s.path(locksDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := s.path(locksDir, e.Name())
		unlock, err := tryLockFile(path)
		if err != nil {
			continue // in use
		}
		err = removeFile(path)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// removeStaleNotes removes temporary files beside notes, see NotePath.
func (s *Store) removeStaleNotes() error {
	entries, err := os.ReadDir(s.path(notesDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.Name()[0] != '.' || time.Since(info.ModTime()) < time.Hour {
			continue
		}
		if err := removeFile(s.path(notesDir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
