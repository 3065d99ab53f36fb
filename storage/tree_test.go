package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"virga/fakeroot"
)

func TestBaseID(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	seen := map[TreeID]bool{}
	for _, id := range []TreeID{BaseID(nil, ""), BaseID([]digest.Digest{a}, ""), BaseID([]digest.Digest{a, b}, ""),
		BaseID([]digest.Digest{b, a}, ""), BaseID([]digest.Digest{a, b}, "root"), NewTreeID(), NewTreeID()} {
		if id.check() != nil || seen[id] {
			t.Errorf("id %q is malformed or not unique", id)
		}
		seen[id] = true
	}
	if BaseID([]digest.Digest{a, b}, "") != BaseID([]digest.Digest{a, b}, "") {
		t.Error("not a function of its arguments")
	}
}

func TestCommitTree(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	id := NewTreeID()
	tree := must(addTree(s, id, "first"))(t)
	if tree.ID != id || tree.Files != 2 || tree.Bytes == 0 || tree.Created.IsZero() {
		t.Errorf("got %+v", tree)
	}
	again := must(addTree(s, id, "second"))(t)
	if !again.Created.Equal(tree.Created) {
		t.Errorf("an existing tree was replaced: %+v", again)
	}
	if got := must(os.ReadFile(s.TreePath(id) + "/file"))(t); string(got) != "first" {
		t.Errorf("the file holds %q", got)
	}
	if got := must(s.Owners(id))(t); !reflect.DeepEqual(got, fakeroot.Table{"file": {UID: 7}}) {
		t.Errorf("owners %v", got)
	}
	l := Layer{DiffID: digest.FromString("tar"), Digest: digest.FromString("gz"), Size: 5, MediaType: "x"}
	if err := s.SetLayer(ctx, id, l); err != nil {
		t.Fatal(err)
	}
	if got := must(s.Tree(id))(t); !reflect.DeepEqual(got.Layers, []Layer{l}) {
		t.Errorf("layers %v", got.Layers)
	}
	for _, bad := range []TreeID{"", "..", "../../etc", "xyz", TreeID(fmt.Sprintf("%080d", 0))} {
		if _, err := s.Tree(bad); err == nil {
			t.Errorf("id %q accepted", bad)
		}
	}
	if _, err := s.Tree(NewTreeID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing tree: %v", err)
	}
	if err := s.Pin(ctx, id, NewTreeID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("pin of a missing tree: %v", err)
	}
	checkClean(t, s)
}

func TestCommitSameTreeAtOnce(t *testing.T) {
	s := newTest(t)
	id := BaseID(nil, "race")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := addTree(s, id, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkClean(t, s)
	if left := must(os.ReadDir(s.ses.dir))(t); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

// commitReadOnlyRoot is TestCommitReadOnlyRoot's part for an ordinary user.
func commitReadOnlyRoot(dir string) error {
	s, err := Open(context.Background(), dir+"/s", Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	w, err := s.NewWork(context.Background())
	if err != nil {
		return err
	}
	defer w.Close()
	fs, err := w.Sub("fs")
	if err != nil {
		return err
	}
	if err := os.Chmod(fs, 0o555); err != nil {
		return err
	}
	tree, err := s.CommitTree(context.Background(), fs, Tree{ID: NewTreeID()}, nil)
	if err != nil {
		return err
	}
	owners, err := s.Owners(tree.ID)
	if rec := owners["."]; err != nil || !rec.HasPerm || rec.Perm != 0o555 {
		return fmt.Errorf("the root's mode is lost: %+v, %v", rec, err)
	}
	return nil
}

func TestCommitReadOnlyRoot(t *testing.T) {
	dir := t.TempDir()
	if out := must(runUser(t, dir, "commit-readonly-root", dir))(t); out != "" {
		t.Error(out)
	}
}

func TestOwnersReadBack(t *testing.T) {
	tables := []fakeroot.Table{
		nil,
		{},
		{".": {Perm: 0o555, HasPerm: true}, "dev/null": {Type: 0o20000, Rdev: 259}},
		{"latin\xe9": {UID: 1}, "latin\xe8": {UID: 2}, "utf8é": {GID: 3}, "new\nline": {}},
		{"x": {Xattrs: map[string][]byte{"security.capability": {0, 1, 0xff}}}},
	}
	for _, want := range tables {
		b := must(encodeOwners(want))(t)
		got := must(decodeOwners(b))(t)
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	for _, bad := range []string{"", "[]", `{"format":2}`, `{"format":1,"raw":{"%":{}}}`} {
		if _, err := decodeOwners([]byte(bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}
