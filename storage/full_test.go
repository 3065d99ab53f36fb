package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk runs fullRole in namespaces of its own, where it may mount a
// small tmpfs.
func TestFullDisk(t *testing.T) {
	for _, what := range []string{"size=1m", "nr_inodes=150"} {
		t.Run(what, func(t *testing.T) {
			cmd := child(t, "full", t.TempDir(), what)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
			}
			err := cmd.Start()
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
				t.Skip("needs user namespaces, to mount a small tmpfs:", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// filler fills a file system to its last block and inode.
type filler struct{ dir string }

func (f filler) fill() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil && !IsFull(err) {
		return err
	}
	for i := 0; ; i++ {
		err := os.WriteFile(fmt.Sprintf("%s/%d", f.dir, i), make([]byte, 4096), 0o600)
		if IsFull(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// free gives n files of a block back.
func (f filler) free(n int) {
	for i := range n {
		os.Remove(fmt.Sprintf("%s/%d", f.dir, i))
	}
}

// fullSteps are what needs room. n is different each time.
func fullSteps(ctx context.Context) map[string]func(s *Store, n string) error {
	return map[string]func(s *Store, n string) error{
		"blob": func(s *Store, n string) error {
			_, err := s.AddBlob(ctx, []byte(strings.Repeat(n, 30000)))
			return err
		},
		"tree":  func(s *Store, n string) error { _, err := addTree(s, NewTreeID(), n); return err },
		"image": func(s *Store, n string) error { _, err := addImage(s, "during"+n, n); return err },
		"tag": func(s *Store, n string) error {
			img, err := s.Lookup("before")
			if err != nil {
				return err
			}
			r, err := img[0].Reference()
			if err != nil {
				return err
			}
			r.Tag = "t" + n
			return s.Tag(ctx, img[0], r)
		},
		"state": func(s *Store, n string) error { return s.PutState(ctx, State{Key: n + "0123456789"}) },
		"mount": func(s *Store, n string) error { _, err := s.CacheMount(ctx, n, Shared); return err },
	}
}

func fullRole(args []string) error {
	ctx := context.Background()
	if err := unix.Mount("tmpfs", args[0], "tmpfs", 0, args[1]); err != nil {
		return err
	}
	f := filler{args[0] + "/filler"}
	dir := args[0] + "/storage"
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	if _, err := addImage(s, "before", "before"); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	for name, step := range fullSteps(ctx) {
		failed := false
		for room := 0; ; room++ {
			err := onFullDisk(ctx, f, dir, room, step)
			failed = failed || err != nil
			if err == nil {
				break
			}
			if !IsFull(err) || room > 300 {
				return fmt.Errorf("%s with room for %d: %w", name, room, err)
			}
		}
		if !failed {
			return fmt.Errorf("%s never met the full disk", name)
		}
	}
	return deleteOnFullDisk(ctx, f, dir)
}

// onFullDisk tries a step on a disk with room for so many blocks.
func onFullDisk(ctx context.Context, f filler, dir string, room int, step func(s *Store, n string) error) error {
	if err := f.fill(); err != nil {
		return fmt.Errorf("fill: %v", err)
	}
	f.free(room)
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	failure := step(s, fmt.Sprint(room))
	if err := leftOvers(s); err != nil {
		return fmt.Errorf("%v, after %v", err, failure)
	}
	if err := s.Close(); err != nil {
		return err
	}
	// What a failed step had finished before is garbage now.
	if s, err = Open(ctx, dir, Options{}); err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Collect(ctx, Policy{}); err != nil {
		return fmt.Errorf("collect: %v, after %v", err, failure)
	}
	return failure
}

func deleteOnFullDisk(ctx context.Context, f filler, dir string) error {
	if err := f.fill(); err != nil {
		return err
	}
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	if d, _, err := s.Delete(ctx, "during*"); err != nil || len(d) == 0 {
		return fmt.Errorf("delete on a full disk: %d, %w", len(d), err)
	}
	freed, err := s.Collect(ctx, Policy{ResetCache: true})
	if err != nil || freed.Trees == 0 {
		return fmt.Errorf("collect on a full disk: %+v, %w", freed, err)
	}
	f.free(1 << 10)
	if _, err := s.Collect(ctx, Policy{}); err != nil {
		return err
	}
	if _, err := s.Lookup("before"); err != nil {
		return err
	}
	return leftOvers(s)
}

// leftOvers reports what Check finds, and temporary files.
func leftOvers(s *Store) error {
	problems, err := s.Check(context.Background(), CheckOptions{})
	if err != nil || len(problems) > 0 {
		return fmt.Errorf("check: %v, %w", problems, err)
	}
	left, err := filepath.Glob(s.path(tmpDir, "*", "*"))
	for _, l := range left {
		if filepath.Base(l) != pinDir {
			return fmt.Errorf("left over: %s", l)
		}
	}
	return err
}
