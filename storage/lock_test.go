package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holdRole takes a key lock and keeps it.
func holdRole(args []string) error {
	s, err := Open(context.Background(), args[0], Options{})
	if err != nil {
		return err
	}
	if _, err := s.KeyLock(context.Background(), args[1]); err != nil {
		return err
	}
	fmt.Println("locked")
	select {}
}

func TestKeyLockBetweenProcesses(t *testing.T) {
	s := newTest(t)
	cmd := child(t, "hold", s.Dir(), "base")
	startUntil(t, cmd, "locked")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.KeyLock(ctx, "base"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("held by another process: %v", err)
	}
	unlock := must(s.KeyLock(context.Background(), "other"))(t)
	unlock()
	// A lock in use survives Collect, others' files go.
	must(s.Collect(context.Background(), Policy{}))(t)
	if got := must(os.ReadDir(s.path(locksDir)))(t); len(got) != 1 {
		t.Errorf("lock files: %v, want the one in use", got)
	}
	cmd.Process.Kill()
	unlock, err := s.KeyLock(context.Background(), "base")
	if err != nil {
		t.Fatalf("after its holder was killed: %v", err)
	}
	unlock()
}

func TestKeyLockBetweenGoroutines(t *testing.T) {
	for _, noLock := range []bool{false, true} {
		s := must(Open(context.Background(), t.TempDir()+"/s", Options{NoLock: noLock}))(t)
		defer s.Close()
		var inside atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if i%5 == 0 {
					if _, err := s.Collect(context.Background(), Policy{}); err != nil {
						t.Error(err)
					}
				}
				unlock, err := s.KeyLock(context.Background(), "k")
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two at once")
				}
				time.Sleep(time.Millisecond)
				inside.Add(-1)
				unlock()
			})
		}
		wg.Wait()
	}
}

func TestBusy(t *testing.T) {
	other := errors.New("resource temporarily unavailable") // lockfile's, between goroutines
	for _, test := range []struct{ err, want error }{
		{nil, nil},
		{other, errBusy},
		{unix.EAGAIN, errBusy},
		{unix.EACCES, errBusy},
		{unix.ENOLCK, ErrNoLocks},
		{unix.ENOSYS, ErrNoLocks},
		{&os.PathError{Op: "open", Err: unix.EACCES}, unix.EACCES},
		{&os.PathError{Op: "open", Err: unix.ENOSPC}, unix.ENOSPC},
	} {
		if got := busy(test.err); !errors.Is(got, test.want) {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

// TestReadersDoNotWait holds the lock alone and does all that only reads.
func TestReadersDoNotWait(t *testing.T) {
	ctx := context.Background()
	s := newTest(t)
	img := must(addImage(s, "app", "x"))(t)
	if err := s.PutState(ctx, State{Key: "key00000", Chain: img.Chain}); err != nil {
		t.Fatal(err)
	}
	unlock := must(s.lock(ctx, true))(t)
	defer unlock()
	done := make(chan error)
	go func() {
		r, err := Open(ctx, s.Dir(), Options{})
		if err == nil {
			_, err = r.Images()
		}
		if err == nil {
			_, err = r.Lookup("app")
		}
		if err == nil {
			_, err = r.GetState("key00000")
		}
		if err == nil {
			_, err = r.Du(ctx)
		}
		if err == nil {
			_, err = r.Check(ctx, CheckOptions{})
		}
		if err == nil {
			_, err = r.Owners(img.Chain[0])
		}
		done <- errors.Join(err, r.Close())
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a reader waits for the lock")
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, _, err := s.Delete(short, "app"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a writer: %v, want to wait", err)
	}
}

func TestCacheMount(t *testing.T) {
	ctx := context.Background()
	s := newTest(t)
	shared := must(s.CacheMount(ctx, "apt", Shared))(t)
	again := must(s.CacheMount(ctx, "apt", Shared))(t)
	if shared.Path() != again.Path() {
		t.Error("shared directories differ")
	}
	one := must(s.CacheMount(ctx, "go", Private))(t)
	two := must(s.CacheMount(ctx, "go", Private))(t)
	if one.Path() == two.Path() || one.Path() == shared.Path() {
		t.Error("private directories are shared")
	}
	kept := one.Path()
	one.Close()
	if three := must(s.CacheMount(ctx, "go", Private))(t); three.Path() != kept {
		t.Errorf("a free directory is not used again: %s", three.Path())
	}
	locked := must(s.CacheMount(ctx, "cargo", Locked))(t)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := s.CacheMount(short, "cargo", Locked); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	locked.Close()
	must(s.CacheMount(ctx, "cargo", Locked))(t).Close()
	if f := must(s.Collect(ctx, Policy{Mounts: true}))(t); f.Mounts != 0 {
		t.Errorf("directories in use were taken: %+v", f)
	}
	s = settle(t, s)
	if f := must(s.Collect(ctx, Policy{Mounts: true}))(t); f.Mounts != 4 {
		t.Errorf("freed %+v, want 4 directories", f)
	}
	checkClean(t, s)
}
