package build

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// fileID is what must be unchanged for a file's contents to be taken as
// unchanged. ctime cannot be set back by a user, so a rewrite of equal size
// and restored mtime is noticed.
type fileID struct {
	Dev, Ino    uint64
	Size        int64
	Mtime, Ctim int64 // nanoseconds
}

func idOf(st *unix.Stat_t) fileID {
	return fileID{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

type sum = [sha256.Size]byte

// digestMemo remembers the SHA-256 of file contents by fileID, in one file.
// Losing or damaging that file costs time only: each record carries its own
// identity and a file is hashed again when its identity is not found.
type digestMemo struct {
	file string
	mu   sync.Mutex
	old  map[fileID]sum // as loaded
	used map[fileID]sum // asked for in this build; what is saved
	add  bool           // used holds what old does not
}

const memoRecord = 5*8 + sha256.Size

// openMemo loads the memo kept at file; a missing or odd file gives an empty
// one.
func openMemo(file string) *digestMemo {
	m := &digestMemo{file: file, old: map[fileID]sum{}, used: map[fileID]sum{}}
	b, err := os.ReadFile(file)
	if err != nil || len(b)%memoRecord != 0 {
		return m
	}
	m.old = make(map[fileID]sum, len(b)/memoRecord)
	for ; len(b) > 0; b = b[memoRecord:] {
		var id fileID
		_, _ = binary.Decode(b[:5*8], binary.LittleEndian, &id) // length checked above
		m.old[id] = sum(b[5*8 : memoRecord])
	}
	return m
}

// save writes the digests used in this build, if there are new ones.
func (m *digestMemo) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.add {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(m.file), ".memo")
	if err != nil {
		return fmt.Errorf("remember file digests: %w", err)
	}
	w := bufio.NewWriter(f)
	var rec [memoRecord]byte
	for id, s := range m.used {
		_, _ = binary.Encode(rec[:5*8], binary.LittleEndian, &id) // fits
		copy(rec[5*8:], s[:])
		w.Write(rec[:]) // Flush reports
	}
	err = w.Flush()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), m.file)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("remember file digests: %w", err)
	}
	return nil
}

// racyWindow is how long ago a file must have changed for its identity to be
// trusted: within one tick of the file system's clock a second write would
// leave the same ctime (the "racy git" problem). Kernel ticks are 1-10 ms, and
// some network file systems keep whole seconds.
const racyWindow = 2e9 // nanoseconds

func (m *digestMemo) get(id fileID) (sum, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.old[id]
	if ok {
		m.used[id] = s
	}
	return s, ok
}

func (m *digestMemo) put(id fileID, s sum, now int64) {
	if now-id.Ctim < racyWindow {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used[id], m.add = s, true
}

// sums returns the content digest of every regular file of items, hashing
// those not remembered on all processors.
func (s *source) sums(ctx context.Context, items []item) (map[string]sum, error) {
	out := make(map[string]sum, len(items))
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i := range items {
		it := &items[i]
		if !it.is(unix.S_IFREG) {
			continue
		}
		id := idOf(&it.st)
		if s.digests != nil {
			if d, ok := s.digests.get(id); ok {
				mu.Lock()
				out[it.src] = d
				mu.Unlock()
				continue
			}
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			d, err := s.hash(it.src)
			if err != nil {
				return err
			}
			if s.digests != nil {
				s.digests.put(id, d, now.Nano())
			}
			mu.Lock()
			out[it.src] = d
			mu.Unlock()
			return nil
		})
	}
	return out, g.Wait()
}

func (s *source) hash(name string) (sum, error) {
	f, err := s.root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return sum{}, fmt.Errorf("read %q: %w", name, plain(err))
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum{}, fmt.Errorf("read %q: %w", name, plain(err))
	}
	return sum(h.Sum(nil)), nil
}

// digest is the digest of what a copy of the matches depends on: names,
// types, modes, owners, link targets and contents, but no times.
func (s *source) digest(ctx context.Context, matches []match) (sum, error) {
	h := sha256.New()
	for _, m := range matches {
		sums, err := s.sums(ctx, m.items)
		if err != nil {
			return sum{}, err
		}
		base := filepath.Base(m.name)
		if m.isDir() {
			base = ""
		}
		fmt.Fprintf(h, "match %q %d\n", base, len(m.items))
		for i := range m.items {
			it := &m.items[i]
			if it.rel == "" && it.is(unix.S_IFDIR) {
				continue // the directory itself is not copied
			}
			rec := s.owners[it.src]
			fmt.Fprintf(h, "%q %o %d %d %q", it.rel, it.st.Mode, rec.UID, rec.GID, it.link)
			if it.is(unix.S_IFREG) {
				d := sums[it.src]
				h.Write(d[:])
			}
		}
	}
	return sum(h.Sum(nil)), nil
}
