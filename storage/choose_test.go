package storage

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// chainOfStates makes the states key-0, key-1, ... each from the one before,
// all used at the same time, and returns the size of a tree.
func chainOfStates(t *testing.T, s *Store, key string, n int, used time.Time) int64 {
	t.Helper()
	parent, size := "base0000", int64(0)
	for i := range n {
		tree := must(addTree(s, NewTreeID(), strings.Repeat("x", 10000)))(t)
		k := fmt.Sprintf("%s-%04d", key, i)
		if err := s.PutState(t.Context(), State{Key: k, Parent: parent, Chain: []TreeID{tree.ID}}); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(must(s.statePath(k))(t), used, used); err != nil {
			t.Fatal(err)
		}
		parent, size = k, tree.Bytes
	}
	return size
}

func left(t *testing.T, s *Store) string {
	t.Helper()
	var keys []string
	for _, st := range must(s.Du(t.Context()))(t).ByState {
		keys = append(keys, st.Key)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// The ends of chains go first, and a chain that was used at its end is as
// young as that as a whole.
func TestBoundTakesTheEndsFirst(t *testing.T) {
	s := newTest(t)
	hour := func(n int) time.Time { return time.Now().Add(-time.Duration(n) * time.Hour) }
	size := chainOfStates(t, s, "old", 3, hour(5))
	chainOfStates(t, s, "new", 2, hour(9))
	last := must(s.statePath("new-0001"))(t)
	if err := os.Chtimes(last, hour(1), hour(1)); err != nil {
		t.Fatal(err)
	}
	s = settle(t, s)
	if f := must(s.Bound(t.Context(), 100*size))(t); f != (Freed{}) {
		t.Errorf("below the bound %+v was freed", f)
	}
	for _, tt := range []struct {
		keep int64
		want string
	}{{4, "new-0000 new-0001 old-0000 old-0001"}, {3, "new-0000 new-0001 old-0000"}, {1, "new-0000"}, {0, ""}} {
		f := must(s.Bound(t.Context(), tt.keep*size))(t)
		if got := left(t, s); got != tt.want || f.States != f.Trees {
			t.Errorf("bound to %d trees: freed %+v, left %q, want %q", tt.keep, f, got, tt.want)
		}
	}
	checkClean(t, s)
}

// What an image or a process needs neither counts nor goes, and cache
// directories are like states.
func TestBoundCountsTheCacheAlone(t *testing.T) {
	s := newTest(t)
	img := must(addImage(s, "app", strings.Repeat("y", 50000)))(t)
	if err := s.PutState(t.Context(), State{Key: "ofimage0", Chain: img.Chain}); err != nil {
		t.Fatal(err)
	}
	size := chainOfStates(t, s, "held", 1, time.Now().Add(-9*time.Hour))
	held := must(s.GetState("held-0000"))(t)
	m := must(s.CacheMount(t.Context(), "apt", Shared))(t)
	os.WriteFile(m.Path()+"/deb", make([]byte, 100000), 0o600)
	m.Close()
	s = settle(t, s)
	other := openTest(t, s.Dir())
	if err := other.Pin(t.Context(), held.Chain...); err != nil {
		t.Fatal(err)
	}
	u := must(s.Du(t.Context()))(t)
	if u.Cache.Active != 2 || u.Mounts.Active != 0 || u.Cache.Bytes < size {
		t.Errorf("usage %+v", u)
	}
	if f := must(s.Bound(t.Context(), u.Mounts.Bytes))(t); f != (Freed{}) {
		t.Errorf("freed %+v, which the bound allows", f)
	}
	if f := must(s.Bound(t.Context(), u.Mounts.Bytes-1))(t); f.Mounts != 1 || f.Trees != 0 || f.Bytes < 100000 {
		t.Errorf("freed %+v, want the cache directory", f)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if f := must(s.Bound(t.Context(), 1))(t); f.Trees != 1 || f.States != 1 {
		t.Errorf("freed %+v, want what is no longer held", f)
	}
	must(s.GetState("ofimage0"))(t)
	checkClean(t, s)
}

// A record that only leads to another one goes with it, and records that name
// each other as parents are no trap.
func TestBoundWithAliasesAndLoops(t *testing.T) {
	s := newTest(t)
	size := chainOfStates(t, s, "real", 1, time.Now())
	st := must(s.GetState("real-0000"))(t)
	for _, extra := range []State{
		{Key: "alias000", Parent: "base0000", Chain: st.Chain, Alias: st.Key},
		{Key: "loop0001", Parent: "loop0002"}, {Key: "loop0002", Parent: "loop0001"},
	} {
		if err := s.PutState(t.Context(), extra); err != nil {
			t.Fatal(err)
		}
	}
	s = settle(t, s)
	if u := must(s.Du(t.Context()))(t); u.Cache.Count != 3 || u.Cache.Bytes < size {
		t.Errorf("usage %+v, want the alias not counted", u.Cache)
	}
	if f := must(s.Bound(t.Context(), 1))(t); f.Trees != 1 || f.States != 2 {
		t.Errorf("freed %+v, want the state and its alias", f)
	}
	checkClean(t, s)
}

// An image that was kept flat comes back without that form when it is gone.
func TestUndeleteWithoutFlat(t *testing.T) {
	ctx := context.Background()
	s := newTest(t)
	img := must(addImage(s, "app", "x"))(t)
	img.Flat = must(addTree(s, NewTreeID(), "flat"))(t).ID
	if err := s.PutImage(ctx, *img); err != nil {
		t.Fatal(err)
	}
	if err := s.PutState(ctx, State{Key: "ofimage0", Chain: img.Chain}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Delete(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	s = settle(t, s)
	collect(t, s, Policy{})
	if exists(s.treeDir(img.Flat)) {
		t.Error("the flat form of a deleted image is kept")
	}
	if back := must(s.Undelete(ctx, ref(t, "app")))(t); back.Flat != "" || len(back.Chain) != 1 {
		t.Errorf("came back as %+v", back)
	}
	checkClean(t, s)
}
