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
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Records, blobs and tree.json files say by their mode whether they have
// been written out to disk: read-only ones have. Changing a mode is one
// system call, leaves no moment without the record, and reading it is free.
const (
	modePending = 0o600
	modeDurable = 0o400
	writeBits   = 0o222
)

// dirtySet holds the paths of what was written or used and is not known to
// be on disk.
type dirtySet struct {
	mu    sync.Mutex
	paths map[string]bool // true: the record of an image
}

func (d *dirtySet) add(path string, image bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.paths == nil {
		d.paths = map[string]bool{}
	}
	d.paths[path] = d.paths[path] || image
}

func (d *dirtySet) take() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.paths
	d.paths = nil
	return p
}

func (d *dirtySet) empty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.paths) == 0
}

// Sync writes the file system out (syncfs(2)) and marks all that this Store
// has put or used as durable: believed even after a crash of the machine. It
// does nothing when there is nothing to mark. Call it once, at the end of a
// build or a pull; images put after it are durable from the start.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	paths := s.dirty.take()
	if len(paths) == 0 {
		return nil
	}
	if err := s.mark(ctx, paths); err != nil {
		for p, image := range paths {
			s.dirty.add(p, image)
		}
		return fmt.Errorf("write storage %q to disk: %w", s.dir, err)
	}
	return nil
}

// writeBackEvery is how long WriteBack waits each time. Work that ends sooner
// has little to write out.
const writeBackEvery = time.Second

// WriteBack has the disk work while a large tree is made: it writes the file
// system out (syncfs(2)) about once a second until stop is called, which does
// not wait. Sync finds little left then; the kernel by itself begins when
// data is half a minute old, or a tenth of the memory. An error is Sync's to
// find.
func (s *Store) WriteBack() (stop func()) {
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(writeBackEvery):
				_ = s.flush()
			}
		}
	}()
	return func() { close(done) }
}

// mark writes out what paths name, then marks it, then writes the marks out:
// an image is marked last, and believed only if its trees are. The marks are
// written out one by one (fsync(2)), because a second syncfs(2) would write
// what everybody else has put on the file system meanwhile; of journals, the
// first fsync commits them all.
func (s *Store) mark(ctx context.Context, paths map[string]bool) error {
	if err := s.flush(); err != nil {
		return err
	}
	// Not while SetLayer is between reading and replacing a record.
	unlock, err := s.lock(ctx, false)
	if err != nil {
		return err
	}
	defer unlock()
	var marked, images []string
	for p, image := range paths {
		if image {
			images = append(images, p)
			continue
		}
		switch err := os.Chmod(p, modeDurable); {
		case err == nil:
			marked = append(marked, p)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	for _, p := range marked {
		if err := syncFile(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, p := range images {
		if err := markImage(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncFile writes out a file and its mode.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// flush writes out the storage directory's file system.
func (s *Store) flush() error {
	fd, err := unix.Open(s.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Syncfs(fd); err != nil && err != unix.ENOSYS {
		return err
	}
	return nil
}

func markImage(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(modeDurable); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// trusted reports whether a record can be believed: it is on disk, or this
// kernel wrote it, or another machine's that is up.
func (s *Store) trusted(durable bool, bootID string) bool {
	if durable {
		return true
	}
	machine, boot, ok := strings.Cut(bootID, "/")
	return ok && (boot == s.me().boot || machine != s.me().machine && s.isUp(machine, boot))
}

// isUp reports whether a process of another machine, of the given boot, gave
// a sign of life lately.
func (s *Store) isUp(machine, boot string) bool {
	entries, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return false
	}
	for _, e := range entries {
		o, ok := parseOwner(e.Name())
		if !ok || o.machine != machine || o.boot != boot {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) < liveAge {
			return true
		}
	}
	return false
}

// lost reports whether a record that is not trusted will never be: it is of
// an earlier boot of this machine.
func (s *Store) lost(durable bool, bootID string) bool {
	machine, boot, _ := strings.Cut(bootID, "/")
	return !durable && machine == s.me().machine && boot != s.me().boot
}

// writeRecord puts v at path, whole or not at all. A durable record is on
// disk when writeRecord returns.
func (s *Store) writeRecord(path string, v any, durable bool) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("BUG: record of type %T: %w", v, err)
	}
	mode := os.FileMode(modePending)
	if durable {
		mode = modeDurable
	}
	return s.writeFile(path, append(data, '\n'), mode, durable)
}

// writeFile puts data at path by way of the session's directory.
func (s *Store) writeFile(path string, data []byte, mode os.FileMode, fsync bool) (err error) {
	temp, err := s.tempName("record")
	if err != nil {
		return err
	}
	if err := makeFile(temp, data, mode, fsync); err != nil {
		os.Remove(temp)
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return err
	}
	if fsync {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

func makeFile(path string, data []byte, mode os.FileMode, fsync bool) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // NFS reports a full disk at close
	if _, err := f.Write(data); err != nil {
		return err
	}
	if fsync {
		return f.Sync()
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}

// readSmall reads a file in four system calls; os.ReadFile's six are felt
// when a hundred records are read. mtime and mode come with it.
func readSmall(path string, buf []byte) ([]byte, unix.Stat_t, error) {
	var st unix.Stat_t
	fail := func(op string, err error) ([]byte, unix.Stat_t, error) {
		return nil, st, &os.PathError{Op: op, Path: path, Err: err}
	}
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return fail("open", err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return fail("stat", err)
	}
	if int64(cap(buf)) < st.Size {
		buf = make([]byte, st.Size)
	}
	buf = buf[:st.Size]
	for n := 0; n < len(buf); {
		m, err := retry(func() (int, error) { return unix.Read(fd, buf[n:]) })
		if err != nil {
			return fail("read", err)
		}
		if m == 0 {
			return fail("read", ErrCorrupt)
		}
		n += m
	}
	return buf, st, nil
}

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
