package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containers/storage/pkg/lockfile"
	"golang.org/x/sys/unix"
)

// localLocks are the locks of a Store that takes none on files.
type localLocks struct {
	dir  sync.RWMutex
	mu   sync.Mutex
	keys map[string]bool
}

// Waiting between attempts. lockfile's own waiting cannot be interrupted,
// panics on errors, and never ends on a file system without locks.
const (
	waitFirst = 50 * time.Microsecond
	waitMost  = 25 * time.Millisecond
)

// lock takes the lock on the storage directory, shared or alone. It is never
// held while anything is waited for but the disk. Not reentrant: whoever
// holds it must not call what takes it.
func (s *Store) lock(ctx context.Context, alone bool) (unlock func(), err error) {
	if s.noLock {
		if alone {
			s.local.dir.Lock()
			return s.local.dir.Unlock, nil
		}
		s.local.dir.RLock()
		return s.local.dir.RUnlock, nil
	}
	f, err := lockfile.GetLockFile(s.path(lockFile))
	if err != nil {
		return nil, fmt.Errorf("lock storage %q: %w", s.dir, cause(err))
	}
	try := f.TryRLock
	if alone {
		try = f.TryLock
	}
	if err := s.await(ctx, "storage", func() error { return busy(try()) }); err != nil {
		return nil, fmt.Errorf("lock storage %q: %w", s.dir, err)
	}
	return f.Unlock, nil
}

// KeyLock takes the lock called name, so that of several processes (and
// goroutines) that want the same thing one does it and the others then find
// it done. It may be held for long; it waits until the holder unlocks or
// ends, however that ends, or ctx does.
//
// A goroutine must not take a second one while it holds one, or two that take
// the same pair in different order wait for each other for ever. With NoLock
// only goroutines of this Store are kept apart.
func (s *Store) KeyLock(ctx context.Context, name string) (unlock func(), err error) {
	err = s.await(ctx, name, func() error {
		unlock, err = s.tryKeyLock(ctx, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", name, err)
	}
	return unlock, nil
}

// errBusy says that somebody else holds a lock.
var errBusy = errors.New("locked by another process")

// tryKeyLock takes a key lock or fails with errBusy. Each attempt is made
// under the shared lock: Collect removes lock files that nobody holds, and
// one opened before and locked after that would keep nobody out.
func (s *Store) tryKeyLock(ctx context.Context, name string) (unlock func(), err error) {
	if s.noLock {
		return s.local.tryKey(name)
	}
	done, err := s.lock(ctx, false)
	if err != nil {
		return nil, err
	}
	defer done()
	return tryLockFile(s.path(locksDir, keyFile(name)))
}

func tryLockFile(path string) (unlock func(), err error) {
	f, err := lockfile.GetLockFile(path)
	if err != nil {
		return nil, cause(err)
	}
	if err := busy(f.TryLock()); err != nil {
		return nil, err
	}
	return f.Unlock, nil
}

func keyFile(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

func (l *localLocks) tryKey(name string) (unlock func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys[name] {
		return nil, errBusy
	}
	if l.keys == nil {
		l.keys = map[string]bool{}
	}
	l.keys[name] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.keys, name)
	}, nil
}

// await repeats try while it is busy.
func (s *Store) await(ctx context.Context, what string, try func() error) error {
	wait := waitFirst
	for {
		err := try()
		if !errors.Is(err, errBusy) {
			return err
		}
		if wait == waitMost {
			s.log.Debug("waiting for a lock", "lock", what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, waitMost)
	}
}

// busy tells apart what lockfile's Try functions return: an errno from
// fcntl(2) or open(2), or an untyped error when another goroutine has the lock.
func busy(err error) error {
	var errno unix.Errno
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &errno), errno == unix.EAGAIN, errno == unix.EACCES && !isOpen(err), errno == unix.EINTR:
		return errBusy
	case errno == unix.ENOLCK, errno == unix.ENOSYS, errno == unix.EOPNOTSUPP:
		return fmt.Errorf("%w (%w)", ErrNoLocks, errno)
	}
	return cause(err)
}

// isOpen reports whether err is from opening a lock file, where EACCES means
// what it says; fcntl(2) may say EACCES for a lock that is held.
func isOpen(err error) bool { return cause(err) != err }
