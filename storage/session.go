package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// session is a Store's directory below tmp/. It is made when first needed, so
// that reading commands write nothing.
type session struct {
	mu     sync.Mutex
	dir    string // "" until made
	beat   *time.Ticker
	done   chan struct{}
	pinned map[string]bool

	count atomic.Int64 // for names in dir
}

const pinDir = "pin"

// sessionDir returns the session's directory.
func (s *Store) sessionDir() (string, error) {
	s.ses.mu.Lock()
	defer s.ses.mu.Unlock()
	if s.ses.dir != "" {
		return s.ses.dir, nil
	}
	dir := s.path(tmpDir, s.me().String()+"-"+randomHex(4))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make work directory: %w", err)
	}
	if err := os.Mkdir(dir+"/"+pinDir, 0o700); err != nil {
		os.Remove(dir)
		return "", fmt.Errorf("make work directory: %w", err)
	}
	s.ses.dir, s.ses.pinned = dir, map[string]bool{}
	s.ses.beat, s.ses.done = time.NewTicker(heartbeat), make(chan struct{})
	go keepAlive(dir, s.ses.beat, s.ses.done)
	return dir, nil
}

// keepAlive gives the sign of life that other machines look for.
func keepAlive(dir string, beat *time.Ticker, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-beat.C:
			now := time.Now()
			_ = os.Chtimes(dir, now, now) // gone or full: nothing to be done
		}
	}
}

// endSession removes the session's directory and with it the pins.
func (s *Store) endSession() error {
	s.ses.mu.Lock()
	defer s.ses.mu.Unlock()
	if s.ses.dir == "" {
		return nil
	}
	s.ses.beat.Stop()
	close(s.ses.done)
	dir := s.ses.dir
	s.ses.dir, s.ses.pinned = "", nil
	return RemoveTree(context.Background(), dir)
}

// tempName returns a path in the session's directory that is not in use.
func (s *Store) tempName(kind string) (string, error) {
	dir, err := s.sessionDir()
	if err != nil {
		return "", err
	}
	return dir + "/" + kind + "-" + strconv.FormatInt(s.ses.count.Add(1), 10), nil
}

// Pin protects trees from Collect until Close. Trees that are not there
// (collected since their names were read) or not to be believed (see Tree)
// give a *MissingError, and none of the others is to be relied on then.
func (s *Store) Pin(ctx context.Context, trees ...TreeID) error {
	missing := &MissingError{}
	names := make([]string, len(trees))
	for i, t := range trees {
		names[i] = "t-" + string(t)
	}
	err := s.pin(ctx, names, func(i int) error {
		err := s.useTree(trees[i])
		if errors.Is(err, ErrNotFound) {
			missing.Trees = append(missing.Trees, trees[i])
		}
		return err
	})
	if len(missing.Trees) > 0 {
		return missing
	}
	return err
}

// useTree checks that a tree is there, and has Sync mark it if it is not yet.
func (s *Store) useTree(id TreeID) error {
	if err := id.check(); err != nil {
		return err
	}
	path := s.treeDir(id) + "/" + treeFile
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil && st.Mode&writeBits == 0 {
		return nil
	}
	if _, err := s.Tree(id); err != nil {
		return err
	}
	s.dirty.add(path, false)
	return nil
}

// useBlob does the same for a blob.
func (s *Store) useBlob(d digest.Digest) error {
	var st unix.Stat_t
	if err := unix.Lstat(s.blobPath(d), &st); err != nil {
		return missingBlob(d, err)
	}
	if st.Mode&writeBits != 0 {
		s.dirty.add(s.blobPath(d), false)
	}
	return nil
}

// PinBlobs protects blobs from Collect until Close. Those that are not there
// give a *MissingError.
func (s *Store) PinBlobs(ctx context.Context, blobs ...digest.Digest) error {
	missing := &MissingError{}
	names := make([]string, len(blobs))
	for i, d := range blobs {
		if err := checkDigest(d); err != nil {
			return err
		}
		names[i] = "b-" + d.Encoded()
	}
	err := s.pin(ctx, names, func(i int) error {
		err := s.useBlob(blobs[i])
		if errors.Is(err, ErrNotFound) {
			missing.Blobs = append(missing.Blobs, blobs[i])
		}
		return err
	})
	if len(missing.Blobs) > 0 {
		return missing
	}
	return err
}

// pin makes pins and calls check for each new one. It is done under the
// shared lock, so that Collect either sees the pin or has finished, and check
// then sees what it left. Each pin is a file, because other machines see a
// new name at once but bytes appended to a file only when it is closed.
func (s *Store) pin(ctx context.Context, names []string, check func(i int) error) error {
	dir, err := s.sessionDir()
	if err != nil {
		return err
	}
	if s.allPinned(names) {
		return nil
	}
	unlock, err := s.lock(ctx, false)
	if err != nil {
		return err
	}
	defer unlock()
	var first error
	for i, name := range names {
		if s.allPinned(names[i : i+1]) {
			continue
		}
		if err := touch(dir + "/" + pinDir + "/" + name); err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
		if err := check(i); err != nil {
			first = errors.Join(first, err)
			continue // the pin stays: it may be about something to come
		}
		s.ses.mu.Lock()
		if s.ses.pinned != nil {
			s.ses.pinned[name] = true
		}
		s.ses.mu.Unlock()
	}
	return first
}

func (s *Store) allPinned(names []string) bool {
	s.ses.mu.Lock()
	defer s.ses.mu.Unlock()
	for _, n := range names {
		if !s.ses.pinned[n] {
			return false
		}
	}
	return true
}

func touch(path string) error {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}
