package storage

import (
	"context"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"
)

func TestState(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	a, b := must(addTree(s, NewTreeID(), "a"))(t), must(addTree(s, NewTreeID(), "b"))(t)
	want := State{Key: "ab12-key_", Parent: "parent00", Chain: []TreeID{a.ID, b.ID}, Alias: "other000", Stage: "build",
		Instruction: "RUN true", Created: time.Now().UTC().Truncate(time.Second)}
	if _, err := s.GetState(want.Key); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	if err := s.PutState(ctx, want); err != nil {
		t.Fatal(err)
	}
	got := must(s.GetState(want.Key))(t)
	if time.Since(got.LastUsed) > time.Minute {
		t.Errorf("last used %v", got.LastUsed)
	}
	got.LastUsed, got.BootID = time.Time{}, ""
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if all := must(s.States(ctx))(t); len(all) != 1 || all[0].Key != want.Key {
		t.Errorf("states %v", all)
	}

	path := must(s.statePath(want.Key))(t)
	past := time.Now().Add(-time.Hour)
	os.Chtimes(path, past, past)
	must(s.GetState(want.Key))(t)
	if st := must(os.Stat(path))(t); time.Since(st.ModTime()) > time.Minute {
		t.Error("its use was not noted")
	}

	if err := os.RemoveAll(s.treeDir(b.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetState(want.Key); !errors.Is(err, ErrNotFound) {
		t.Errorf("with its tree gone: %v", err)
	}
	if err := os.WriteFile(path, []byte(`{"key":"ab1`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetState(want.Key); !errors.Is(err, ErrNotFound) {
		t.Errorf("damaged: %v", err)
	}
	for _, bad := range []string{"", "short", "../../../x", "0123456789/", "0123456789."} {
		if err := s.PutState(ctx, State{Key: bad}); err == nil {
			t.Errorf("key %q accepted", bad)
		}
	}
}
