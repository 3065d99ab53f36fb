package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// deadSessions lists the directories in tmp/ whose owners have ended.
func (s *Store) deadSessions() ([]string, error) {
	entries, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return nil, fmt.Errorf("look for abandoned work: %w", err)
	}
	var dead []string
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for abandoned work: %w", err)
		}
		age := time.Since(info.ModTime())
		o, ok := parseOwner(e.Name())
		if ok && o.dead(s.me(), age) || !ok && age > foreignAge {
			dead = append(dead, s.path(tmpDir, e.Name()))
		}
	}
	return dead, nil
}

// sweep removes what dead processes left.
func (s *Store) sweep(ctx context.Context) error {
	dead, err := s.deadSessions()
	for _, dir := range dead {
		s.log.Info("removing what a dead process left", "dir", dir)
		err = errors.Join(err, RemoveTree(ctx, dir))
	}
	return err
}

// startSweep sweeps in the background if there is something to sweep. Nobody
// waits for its result: what it cannot do is tried again by the next process.
func (s *Store) startSweep(ctx context.Context) {
	dead, err := s.deadSessions()
	if err != nil {
		s.log.Warn("clean storage", "err", err)
	}
	if len(dead) == 0 {
		return
	}
	// Not ended by ctx: Close does that, after a moment's grace.
	ctx, s.stopSweep = context.WithCancel(context.WithoutCancel(ctx))
	s.swept = make(chan struct{})
	go func() {
		defer close(s.swept)
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("clean storage", "err", err)
		}
	}()
}
