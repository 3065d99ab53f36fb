package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"virga/internal/inroot"
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
//
// Records are kept in the order in which they were asked for, which is that of
// the next build, too: a look-up usually is one comparison with the record
// after the last one, and loading is reading the file.
type digestMemo struct {
	file string
	mu   sync.Mutex
	old  []byte           // records as loaded
	next int              // the record of old that is expected next
	at   map[fileID]int32 // index of old, made when a record is not where expected
	used []int32          // what was asked for in this build: a record of old, or -1-i for one of added
	add  []byte           // new records
}

// A record is a fileID, little-endian, and a digest.
const (
	memoID     = 5 * 8
	memoRecord = memoID + sha256.Size
)

// openMemo loads the memo kept at file; a missing or odd file gives an empty
// one.
func openMemo(file string) *digestMemo {
	b, err := os.ReadFile(file)
	if err != nil || len(b)%memoRecord != 0 {
		b = nil
	}
	return &digestMemo{file: file, old: b}
}

// save writes the digests used in this build, if there are new ones or the
// order was another.
func (m *digestMemo) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.add) == 0 && m.at == nil {
		return nil
	}
	out := make([]byte, 0, len(m.used)*memoRecord)
	for _, i := range m.used {
		if i >= 0 {
			out = append(out, record(m.old, int(i))...)
		} else {
			out = append(out, record(m.add, int(-1-i))...)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(m.file), ".memo")
	if err != nil {
		return fmt.Errorf("remember file digests: %w", err)
	}
	_, err = f.Write(out)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), m.file)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("remember file digests: %w", err)
	}
	return nil
}

// count is the number of records loaded.
func (m *digestMemo) count() int {
	if m == nil {
		return 0
	}
	return len(m.old) / memoRecord
}

func record(b []byte, i int) []byte { return b[i*memoRecord : (i+1)*memoRecord] }

func (id *fileID) encode() (b [memoID]byte) {
	binary.LittleEndian.PutUint64(b[0:], id.Dev)
	binary.LittleEndian.PutUint64(b[8:], id.Ino)
	binary.LittleEndian.PutUint64(b[16:], uint64(id.Size))
	binary.LittleEndian.PutUint64(b[24:], uint64(id.Mtime))
	binary.LittleEndian.PutUint64(b[32:], uint64(id.Ctim))
	return b
}

func decodeID(b []byte) fileID {
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return fileID{u(0), u(1), int64(u(2)), int64(u(3)), int64(u(4))}
}

// racyWindow is how long ago a file must have changed for its identity to be
// trusted: within one tick of the file system's clock a second write would
// leave the same ctime (the "racy git" problem). Kernel ticks are 1-10 ms, and
// some network file systems keep whole seconds.
const racyWindow = 2e9 // nanoseconds

func (m *digestMemo) get(id fileID) (sum, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.find(id)
	if i < 0 {
		return sum{}, false
	}
	m.next = i + 1
	m.used = append(m.used, int32(i))
	return sum(record(m.old, i)[memoID:]), true
}

// find returns the number of id's record, or -1.
func (m *digestMemo) find(id fileID) int {
	n, key := m.count(), id.encode()
	for i := m.next; i < min(m.next+2, n); i++ { // the one after the next if one has changed
		if bytes.Equal(record(m.old, i)[:memoID], key[:]) {
			return i
		}
	}
	if m.at == nil {
		m.at = make(map[fileID]int32, n)
		for i := range n {
			m.at[decodeID(record(m.old, i))] = int32(i)
		}
	}
	if i, ok := m.at[id]; ok {
		return int(i)
	}
	return -1
}

func (m *digestMemo) put(id fileID, s sum, now int64) {
	if now-id.Ctim < racyWindow {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = append(m.used, int32(-1-len(m.add)/memoRecord))
	key := id.encode()
	m.add = append(append(m.add, key[:]...), s[:]...)
}

// sums returns the content digest of every regular file of items, by index,
// hashing those not remembered on all processors.
func (s *source) sums(ctx context.Context, items []item) ([]sum, error) {
	out := make([]sum, len(items))
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	var missing []int
	for i := range items {
		it := &items[i]
		if !it.is(unix.S_IFREG) {
			continue
		}
		known := false
		if s.digests != nil {
			out[i], known = s.digests.get(idOf(&it.st))
		}
		if !known {
			missing = append(missing, i)
		}
	}
	if err := s.hashAll(ctx, items, missing, out); err != nil {
		return nil, err
	}
	if s.digests != nil {
		for _, i := range missing {
			s.digests.put(idOf(&items[i].st), out[i], now.Nano())
		}
	}
	return out, nil
}

// hashAtOnce is how many files a processor takes at a time: neighbours, whose
// directory is opened once.
const hashAtOnce = 64

// hashAll puts the digests of items[i] into out[i] for each i of which.
func (s *source) hashAll(ctx context.Context, items []item, which []int, out []sum) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			at := s.root.Cursor()
			defer at.Close()
			buf := make([]byte, smallCopy)
			for {
				from := int(next.Add(hashAtOnce)) - hashAtOnce
				if from >= len(which) {
					return nil
				}
				for _, i := range which[from:min(from+hashAtOnce, len(which))] {
					if err := ctx.Err(); err != nil {
						return err
					}
					if err := hash(at, items[i].src, buf, &out[i]); err != nil {
						return fmt.Errorf("read %q: %w", items[i].src, plain(err))
					}
				}
			}
		})
	}
	return g.Wait()
}

func hash(at *inroot.Cursor, name string, buf []byte, out *sum) error {
	fd, err := at.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	h := sha256.New()
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			h.Sum(out[:0])
			return err
		}
		h.Write(buf[:n])
	}
}

// digest is the digest of what a copy of the matches depends on: names,
// types, modes, owners, attributes, link targets and contents, but no times.
func (s *source) digest(ctx context.Context, matches []match) (sum, error) {
	h := sha256.New()
	buf := make([]byte, 0, 64<<10)
	text := func(t string) { buf = append(binary.AppendUvarint(buf, uint64(len(t))), t...) }
	for _, m := range matches {
		sums, err := s.sums(ctx, m.items)
		if err != nil {
			return sum{}, err
		}
		base := filepath.Base(m.name)
		if m.isDir() {
			base = ""
		}
		text(base)
		buf = binary.AppendUvarint(buf, uint64(len(m.items)))
		for i := range m.items {
			it := &m.items[i]
			if it.rel == "" && it.is(unix.S_IFDIR) {
				continue // the directory itself is not copied
			}
			text(it.rel)
			text(it.link)
			buf = binary.AppendUvarint(buf, uint64(it.st.Mode))
			if s.owners != nil {
				extra, err := s.extra(it)
				if err != nil {
					return sum{}, err
				}
				text(extra)
			}
			if it.is(unix.S_IFREG) {
				buf = append(buf, sums[i][:]...)
			}
			if len(buf) > 48<<10 {
				h.Write(buf)
				buf = buf[:0]
			}
		}
	}
	h.Write(buf)
	return sum(h.Sum(nil)), nil
}

// extra is what a file of a stage or image has besides what stat(2) tells and
// a copy takes along: its record, and attributes on disk.
func (s *source) extra(it *item) (string, error) {
	var out []byte
	if rec, ok := s.owners[it.src]; ok {
		var err error
		if out, err = json.Marshal(rec); err != nil { // sorts the attributes
			return "", fmt.Errorf("BUG: %w", err)
		}
	}
	if !it.is(unix.S_IFREG) {
		return string(out), nil
	}
	file := filepath.Join(s.root.Name(), it.src)
	list := make([]byte, 4096)
	n, err := unix.Llistxattr(file, list)
	if err != nil || n == 0 {
		return string(out), nil // none, or a file system without
	}
	names := strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		if !copiedXattr(name) {
			continue
		}
		val := make([]byte, 64<<10)
		if n, err = unix.Lgetxattr(file, name, val); err == nil {
			out = fmt.Appendf(out, "%q=%q", name, val[:n])
		}
	}
	return string(out), nil
}
