package storage

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// settle ends the Store's pins by opening the directory anew.
func settle(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openTest(t, s.Dir())
}

func collect(t *testing.T, s *Store, p Policy) Freed {
	t.Helper()
	dry := p
	dry.DryRun = true
	promised := must(s.Collect(context.Background(), dry))(t)
	freed := must(s.Collect(context.Background(), p))(t)
	if !p.Mounts && promised != freed {
		t.Errorf("a dry run says %+v, then freed %+v", promised, freed)
	}
	checkClean(t, s)
	return freed
}

func TestCollect(t *testing.T) {
	ctx := context.Background()
	s := newTest(t)
	img := must(addImage(s, "kept", "kept"))(t)
	layerBlob := must(s.AddBlob(ctx, []byte("layer of kept")))(t)
	if err := s.SetLayer(ctx, img.Chain[0], Layer{DiffID: digest.FromString("d"), Digest: layerBlob, Size: 13}); err != nil {
		t.Fatal(err)
	}
	must(addImage(s, "dropped", "dropped"))(t)
	loose := must(addTree(s, NewTreeID(), "loose"))(t)
	cached := must(addTree(s, NewTreeID(), "cached"))(t)
	if err := s.PutState(ctx, State{Key: "00cached", Chain: []TreeID{img.Chain[0], cached.ID}}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutState(ctx, State{Key: "00ofimage", Chain: img.Chain}); err != nil {
		t.Fatal(err)
	}
	hidden := must(addImage(s, "hidden", "held by a state"))(t)
	if err := s.PutState(ctx, State{Key: "00hidden", Chain: hidden.Chain}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Delete(ctx, "dropped", "hidden"); err != nil {
		t.Fatal(err)
	}

	if f := collect(t, s, Policy{}); f != (Freed{}) {
		t.Errorf("what is pinned was taken: %+v", f)
	}
	if _, err := s.GetState("00cached"); err != nil {
		t.Errorf("a state was taken: %v", err)
	}
	s = settle(t, s)
	f := collect(t, s, Policy{})
	if f.Trees != 2 || f.Blobs != 1 || f.States != 0 || f.Bytes == 0 {
		t.Errorf("freed %+v, want the trees of dropped and loose, the configuration of dropped", f)
	}
	if exists(s.treeDir(loose.ID)) {
		t.Error("the loose tree is still there")
	}
	if got := names(must(s.Deleted())(t)); got != "hidden:latest" {
		t.Errorf("to undelete: %s, want what the cache holds", got)
	}
	must(s.Undelete(ctx, ref(t, "hidden")))(t)
	if _, _, err := s.Delete(ctx, "hidden"); err != nil {
		t.Fatal(err)
	}
	s = settle(t, s)
	if !exists(s.blobPath(layerBlob)) || !exists(s.treeDir(img.Chain[0])) {
		t.Error("an image lost something")
	}
	if f := collect(t, s, Policy{}); f != (Freed{}) {
		t.Errorf("freed %+v the second time", f)
	}
	if f := collect(t, s, Policy{All: true}); f.Trees != 2 || f.States != 2 || f.Blobs != 1 {
		t.Errorf("freed %+v, want the cached trees and what came with hidden", f)
	}
	if got := must(s.Deleted())(t); len(got) != 0 {
		t.Errorf("deleted images are kept without their trees: %s", names(got))
	}
	if f := collect(t, s, Policy{ResetCache: true}); f.Trees != 0 || f.States != 1 {
		t.Errorf("freed %+v, want the last state", f)
	}
	must(s.Lookup("kept"))(t)
}

func TestCollectByUse(t *testing.T) {
	ctx := context.Background()
	s := newTest(t)
	var size int64
	for i := range 5 {
		tree := must(addTree(s, NewTreeID(), fmt.Sprint(i)))(t)
		size = tree.Bytes
		key := fmt.Sprintf("state-%02d", i)
		if err := s.PutState(ctx, State{Key: key, Chain: []TreeID{tree.ID}}); err != nil {
			t.Fatal(err)
		}
		used := time.Now().Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(must(s.statePath(key))(t), used, used); err != nil {
			t.Fatal(err)
		}
	}
	s = settle(t, s)
	left := func() (keys string) {
		for i := range 5 {
			if path := must(s.statePath(fmt.Sprintf("state-%02d", i)))(t); exists(path) {
				keys += fmt.Sprint(i)
			}
		}
		return keys
	}
	for _, test := range []struct {
		p    Policy
		want string
	}{
		{Policy{Until: time.Now().Add(-210 * time.Minute)}, "0123"},
		{Policy{KeepStorage: 3 * size}, "012"},
		{Policy{KeepStorage: 3*size - 1}, "01"},
		{Policy{All: true, Until: time.Now().Add(-30 * time.Minute)}, "0"},
		{Policy{All: true}, ""},
	} {
		collect(t, s, test.p)
		if got := left(); got != test.want {
			t.Errorf("%+v leaves %s, want %s", test.p, got, test.want)
		}
	}
}

// TestCollectMends: a process may be killed between a record and what
// follows from it.
func TestCollectMends(t *testing.T) {
	s := newTest(t)
	must(addImage(s, "app", "x"))(t)
	s = settle(t, s)
	for _, damage := range []func() error{
		func() error { return os.Remove(s.path(imgDir, "app+latest")) },
		func() error { return os.Symlink("../trees/none/fs", s.path(imgDir, "gone+latest")) },
		func() error { return os.WriteFile(s.path(indexFile), nil, 0o600) },
		func() error { return os.WriteFile(s.NotePath(".memo123"), nil, 0o600) },
		func() error { return os.Mkdir(s.path(treesDir, string(NewTreeID())), 0o700) },
		func() error { return os.WriteFile(s.path(blobsDir, digest.FromString("?").Encoded()), nil, 0o600) },
		func() error { return os.Mkdir(s.path(tmpDir, "host-1-1-00000000-00000000-1-aa"), 0o700) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * foreignAge)
	os.Chtimes(s.NotePath(".memo123"), past, past)
	os.Chtimes(s.path(tmpDir, "host-1-1-00000000-00000000-1-aa"), past, past)
	if p := must(s.Check(context.Background(), CheckOptions{}))(t); len(p) < 5 {
		t.Errorf("check found only %v", p)
	}
	must(s.Collect(context.Background(), Policy{}))(t)
	checkClean(t, s)
	if exists(s.NotePath(".memo123")) {
		t.Error("a note's temporary file is still there")
	}
}

// TestCollectAgainstWriters: whatever is committed or pinned by a live Store
// survives, whenever Collect runs.
func TestCollectAgainstWriters(t *testing.T) {
	s := newTest(t)
	done := make(chan struct{})
	var collectors, writers sync.WaitGroup
	for range 2 {
		collectors.Go(func() {
			c := openTest(t, s.Dir())
			for {
				select {
				case <-done:
					return
				default:
					if _, err := c.Collect(context.Background(), Policy{ResetCache: true}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for i := range 15 {
				one, err := Open(context.Background(), s.Dir(), Options{})
				if err != nil {
					t.Error(err)
					return
				}
				// The same few contents over and over: found, pinned, or made again.
				ref, content := fmt.Sprintf("w%d", w), fmt.Sprint(i%3)
				img, err := addImage(one, ref, content)
				if err != nil {
					t.Error(err)
				} else if b, err := os.ReadFile(one.TreePath(img.Chain[0]) + "/file"); err != nil || string(b) != content {
					t.Errorf("a pinned tree holds %q, %v", b, err)
				}
				one.Delete(context.Background(), ref)
				one.Close()
			}
		})
	}
	writers.Wait()
	close(done)
	collectors.Wait()
	checkClean(t, s)
}

func TestDu(t *testing.T) {
	ctx := context.Background()
	s := newTest(t)
	must(addImage(s, "app", "x"))(t)
	must(addTree(s, NewTreeID(), "loose"))(t)
	m := must(s.CacheMount(ctx, "apt", Shared))(t)
	os.WriteFile(m.Path()+"/deb", make([]byte, 100000), 0o600)
	m.Close()
	s = settle(t, s)
	u := must(s.Du(ctx))(t)
	if u.Images.Count != 1 || u.Unused.Count != 1 || u.Cache.Count != 0 || u.Mounts.Count != 1 {
		t.Errorf("got %+v", u)
	}
	if u.Images.Bytes == 0 || u.Images.Reclaimable != 0 || u.Unused.Reclaimable != u.Unused.Bytes || u.Mounts.Reclaimable < 100000 {
		t.Errorf("got %+v", u)
	}
	if len(u.ByMount) != 1 || u.ByMount[0].ID != "apt" {
		t.Errorf("cache directories %+v", u.ByMount)
	}
	total, free := u.Total()
	freed := must(s.Collect(ctx, Policy{All: true, ResetCache: true, Mounts: true}))(t)
	if free <= 0 || total <= free || freed.Bytes != free {
		t.Errorf("total %d, reclaimable %d, freed %+v", total, free, freed)
	}
}
