package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Sharing says who may use a cache directory together (Dockerfile reference,
// "RUN --mount=type=cache", option sharing).
type Sharing int

// The ways of sharing.
const (
	Shared  Sharing = iota // everybody at once
	Private                // nobody: who finds it in use gets another one
	Locked                 // one after the other
)

// Mount is a cache directory in use.
type Mount struct {
	dir    string
	unlock func()
}

// CacheMount gives the directory that belongs to id, and protects it from
// Collect until the Store is closed. With Locked it waits like KeyLock, whose
// rule about two locks holds as well: whoever needs several takes them in the
// order of their ids, before anything else.
func (s *Store) CacheMount(ctx context.Context, id string, how Sharing) (*Mount, error) {
	name := keyFile(id)
	m := &Mount{unlock: func() {}}
	var err error
	switch how {
	case Locked:
		m.unlock, err = s.KeyLock(ctx, mountLock(name))
	case Private:
		name, m.unlock, err = s.freeMount(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("cache directory %q: %w", id, err)
	}
	m.dir = s.path(mountsDir, name, filesDir)
	if err := s.makeMount(ctx, name, id); err != nil {
		m.unlock()
		return nil, fmt.Errorf("cache directory %q: %w", id, err)
	}
	return m, nil
}

func mountLock(name string) string { return "mount " + name }

// freeMount locks the first of the directories name, name.1, name.2 and so on
// that nobody has locked.
func (s *Store) freeMount(ctx context.Context, name string) (string, func(), error) {
	for i := 0; ; i++ {
		n := name
		if i > 0 {
			n += "." + strconv.Itoa(i)
		}
		unlock, err := s.tryKeyLock(ctx, mountLock(n))
		if !errors.Is(err, errBusy) {
			return n, unlock, err
		}
	}
}

// makeMount pins and makes a cache directory.
func (s *Store) makeMount(ctx context.Context, name, id string) error {
	return errors.Join(
		s.pin(ctx, []string{"m-" + name}, func(int) error { return nil }),
		os.MkdirAll(s.path(mountsDir, name, filesDir), 0o755),
		os.WriteFile(s.path(mountsDir, name, "id"), []byte(id+"\n"), 0o644), // for people
	)
}

// Path returns the directory.
func (m *Mount) Path() string { return m.dir }

// Close lets others have it.
func (m *Mount) Close() error {
	m.unlock()
	m.unlock = func() {}
	return nil
}
