package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// State is what an instruction gave, found again by a key that names all that
// went into it.
type State struct {
	Key         string          `json:"key"`                   // 8 to 128 letters, digits, - and _
	Parent      string          `json:"parent,omitempty"`      // key of the state before it
	Chain       []TreeID        `json:"chain"`                 // bottom first, all of them
	Alias       string          `json:"alias,omitempty"`       // key of the state that this record only leads to
	Stage       string          `json:"stage,omitempty"`       // name of the stage that made it, for people
	Instruction string          `json:"instruction,omitempty"` // for people
	Kept        json.RawMessage `json:"kept,omitempty"`        // of a state that is no result: what the caller keeps with it
	Created     time.Time       `json:"created"`
	BootID      string          `json:"bootID,omitempty"`

	LastUsed time.Time `json:"-"` // the record's mtime, see useEvery
}

// useEvery is how often at most the use of a state is noted: prune looks at
// hours, and a hit should write nothing.
const useEvery = 10 * time.Minute

func (s *Store) statePath(key string) (string, error) {
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return -1
		}
		return r
	}
	if len(key) < 8 || len(key) > 128 || strings.Map(plain, key) != "" {
		return "", fmt.Errorf("BUG: state key %q", key)
	}
	return s.path(cacheDir, key[:2], key+".json"), nil
}

// GetState finds a state; ErrNotFound says that it is a miss. Damaged records,
// those not written out when their machine went down, and those whose last
// tree is gone are misses. The other trees are checked by Pin, which the
// caller needs anyway before it uses them: a *MissingError is a miss as well.
func (s *Store) GetState(key string) (*State, error) {
	path, err := s.statePath(key)
	if err != nil {
		return nil, err
	}
	st, durable, err := readState(path, nil)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
			return nil, fmt.Errorf("state %s: %w", key, ErrNotFound)
		}
		return nil, err
	}
	if !s.trusted(durable, st.BootID) {
		return nil, fmt.Errorf("state %s: %w", key, ErrNotFound)
	}
	if n := len(st.Chain); n > 0 && !exists(s.treeDir(st.Chain[n-1])) {
		return nil, fmt.Errorf("state %s: %w", key, ErrNotFound)
	}
	if !durable {
		s.dirty.add(path, false)
	}
	if now := time.Now(); now.Sub(st.LastUsed) > useEvery {
		if os.Chtimes(path, now, now) == nil { // may be read-only
			st.LastUsed = now
		}
	}
	return st, nil
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}

// readState reads a record; ErrCorrupt is one cut off by a crash.
func readState(path string, buf []byte) (st *State, durable bool, err error) {
	data, stat, err := readSmall(path, buf)
	if err != nil {
		return nil, false, err
	}
	st = new(State)
	if err := json.Unmarshal(data, st); err != nil || st.Key+".json" != filepath.Base(path) {
		return nil, false, fmt.Errorf("state %q: %w", path, ErrCorrupt)
	}
	for _, id := range st.Chain {
		if id.check() != nil {
			return nil, false, fmt.Errorf("state %q: %w", path, ErrCorrupt)
		}
	}
	st.LastUsed = time.Unix(stat.Mtim.Unix())
	return st, stat.Mode&writeBits == 0, nil
}

// PutState stores a state. Its trees must have been committed or pinned by
// this Store, or Collect may take them away before the record is there.
func (s *Store) PutState(ctx context.Context, st State) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := s.statePath(st.Key)
	if err != nil {
		return err
	}
	if st.Created.IsZero() {
		st.Created = time.Now().UTC()
	}
	st.BootID = s.me().bootID()
	err = s.writeRecord(path, st, false)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(path), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = s.writeRecord(path, st, false)
		}
	}
	if err != nil {
		return fmt.Errorf("store state %s: %w", st.Key, err)
	}
	s.dirty.add(path, false)
	return nil
}

// States lists all states that can be believed, in no order. Their trees are
// not looked at.
func (s *Store) States(ctx context.Context) ([]State, error) {
	var all []State
	err := s.eachState(ctx, func(path string) error {
		st, durable, err := readState(path, nil)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrCorrupt):
			return nil
		case err != nil:
			return err
		}
		if s.trusted(durable, st.BootID) {
			all = append(all, *st)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list states: %w", err)
	}
	return all, nil
}

// eachState calls f with the path of every state's record.
func (s *Store) eachState(ctx context.Context, f func(path string) error) error {
	dirs, err := os.ReadDir(s.path(cacheDir))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.IsDir() {
			continue
		}
		files, err := os.ReadDir(s.path(cacheDir, d.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range files {
			if !strings.HasSuffix(e.Name(), ".json") {
				continue
			}
			if err := f(s.path(cacheDir, d.Name(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// FindStates lists the states whose keys begin with prefix, 4 digits or more,
// in no order.
func (s *Store) FindStates(ctx context.Context, prefix string) ([]State, error) {
	if len(prefix) < 4 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, nil
	}
	files, err := os.ReadDir(s.path(cacheDir, prefix[:2]))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find state: %w", cause(err))
	}
	var all []State
	for _, e := range files {
		key, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !strings.HasPrefix(key, prefix) {
			continue
		}
		st, err := s.GetState(key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, *st)
	}
	return all, ctx.Err()
}
