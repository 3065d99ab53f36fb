package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
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

// idFile beside a cache directory's files says which id it belongs to.
const idFile = "id"

// mountID is the id of a cache directory, or its name if that is lost.
func (s *Store) mountID(name string) string {
	data, _, err := readSmall(s.path(mountsDir, path.Base(name), idFile), nil)
	if err != nil {
		return name
	}
	return strings.TrimSuffix(string(data), "\n")
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

// makeMount pins a cache directory and makes it if it is not there.
func (s *Store) makeMount(ctx context.Context, name, id string) error {
	if err := s.pin(ctx, []string{"m-" + name}, func(int) error { return nil }); err != nil {
		return err
	}
	place := s.path(mountsDir, name)
	if info, err := os.Lstat(place); err == nil {
		if now := time.Now(); now.Sub(info.ModTime()) > useEvery {
			return os.Chtimes(place, now, now) // its use, for Collect
		}
		return nil
	}
	made, err := s.tempName("mount")
	if err != nil {
		return err
	}
	err = os.MkdirAll(made+"/"+filesDir, 0o755)
	if err == nil {
		err = os.WriteFile(made+"/"+idFile, []byte(id+"\n"), 0o600)
	}
	if err == nil {
		err = os.Rename(made, place)
	}
	if err != nil {
		err = errors.Join(err, RemoveTree(context.WithoutCancel(ctx), made))
	}
	if exists(place) {
		return nil // another process was first
	}
	return err
}

// Path returns the directory.
func (m *Mount) Path() string { return m.dir }

// Close lets others have it.
func (m *Mount) Close() error {
	m.unlock()
	m.unlock = func() {}
	return nil
}
