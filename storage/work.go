package storage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Work is a directory for making something, on the file system that the
// result will be on. If its process dies, the next one removes it.
type Work struct{ dir string }

// NewWork makes a work directory.
func (s *Store) NewWork(ctx context.Context) (*Work, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := s.tempName("work")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	return &Work{dir: dir}, nil
}

// Path returns the directory's absolute path.
func (w *Work) Path() string { return w.dir }

// Sub makes the directory name in the work directory unless it is there, and
// returns its path. name is a plain file name.
func (w *Work) Sub(name string) (string, error) {
	if name != filepath.Base(name) || name == "." || name == ".." {
		return "", fmt.Errorf("BUG: work directory %q", name)
	}
	dir := filepath.Join(w.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("make work directory: %w", err)
	}
	return dir, nil
}

// Close removes the directory and all in it, whatever modes it has. It is
// not cancelled: nothing half made is left after Ctrl-C.
func (w *Work) Close() error {
	return RemoveTree(context.Background(), w.dir)
}
